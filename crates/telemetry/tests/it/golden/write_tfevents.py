"""Writes tensorboard.tfevents with TensorBoard's own messages and records: what TfEventsSink has to write, byte for byte.

    pip install tensorboard==2.21.0 && python write_tfevents.py
"""

from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import DATA_CLASS_SCALAR, DATA_CLASS_TENSOR, Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.compat.proto.types_pb2 import DT_STRING
from tensorboard.summary.writer.record_writer import RecordWriter


def scalar(tag, value, description=None):
    metadata = None
    if description:
        plugin = SummaryMetadata.PluginData(plugin_name="scalars")
        metadata = SummaryMetadata(
            plugin_data=plugin, summary_description=description, data_class=DATA_CLASS_SCALAR
        )
    return Summary.Value(tag=tag, simple_value=value, metadata=metadata)


def text(tag, markdown):
    plugin = SummaryMetadata.PluginData(plugin_name="text")
    tensor = TensorProto(dtype=DT_STRING, tensor_shape=TensorShapeProto(), string_val=[markdown.encode()])
    return Summary.Value(
        tag=tag, tensor=tensor, metadata=SummaryMetadata(plugin_data=plugin, data_class=DATA_CLASS_TENSOR)
    )


def main():
    time = 1_700_000_000.25
    alpha = "The seed's alpha, 0 to 1."
    run = [
        scalar("kasmina.host.loss", 0.5, "The host's own loss on the batch."),
        scalar("kasmina.host.pass_ms", 3.5, "The host's forward and backward pass. [ms]"),
        text("kasmina.event.breaker_open", "**CRITICAL** `breaker_open`\n\n- `breaker`: `kernels`"),
    ]
    seed = [
        scalar("kasmina.seed.alpha/seed-1", 0.25, alpha),
        scalar(
            "kasmina.blend.alpha_mean/seed-1/mode=CONVEX/source=default",
            float("inf"),
            "The mean weight of the seed in the blend; attributes `mode` and `source`.",
        ),
        text("kasmina.event.gate_event/seed-1", "`G1_GRADIENT_HEALTH` passed"),
        text(
            "kasmina.event.gate_failure/seed-1",
            "**CRITICAL** `G2_STABILITY` refused: `loss_rising`\n\n- `norm`: `2`\n- `ratio`: `1.5`",
        ),
        text("kasmina.event.seed_state/seed-1", "`GERMINATED` → `TRAINING`\n\n`TRAINING` → `CULLED`"),
    ]
    events = [
        Event(wall_time=time, file_version="brain.Event:2"),
        Event(wall_time=time, step=12, summary=Summary(value=run)),
        Event(wall_time=time, step=12, summary=Summary(value=seed)),
        Event(wall_time=time + 1, step=13, summary=Summary(value=[scalar("kasmina.seed.alpha/seed-1", 0.5)])),
    ]
    with open(Path(__file__).with_name("tensorboard.tfevents"), "wb") as file:
        writer = RecordWriter(file)
        for event in events:
            writer.write(event.SerializeToString())


main()
