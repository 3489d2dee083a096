//! On a GPU the plain expression is enough: fusion turns it into one kernel. And the way past fusion.

use burn::backend::ir::{InitOperationIr, OperationIr, OperationOutput};
use burn::tensor::TensorMetadata;
use burn::tensor::ops::FloatTensor;
use burn_cubecl::element::BoolElement;
use burn_cubecl::{CubeBackend, CubeRuntime, FloatElement, IntElement};
use burn_fusion::stream::OperationStreams;
use burn_fusion::{Client, Fusion, FusionBackend, NoOp};

use crate::plain::gradients;
use crate::{BlendBackend, PlainFunction};

impl<B: FusionBackend> BlendBackend for Fusion<B> {
    fn is_queued() -> bool {
        true
    }

    fn is_fused() -> bool {
        true
    }

    fn run_plain<F: PlainFunction>(
        function: &F,
        input: FloatTensor<Self>,
        parameters: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let client = input.client.clone();
        let [input, parameters] = [input, parameters].map(|tensor| client.resolve_tensor_float::<B>(tensor));
        fused::<B>(&client, function.run::<B>(input, parameters))
    }

    fn plain_gradients<F: PlainFunction>(
        function: &F,
        arguments: [FloatTensor<Self>; 2],
        gradient: FloatTensor<Self>,
    ) -> [FloatTensor<Self>; 2] {
        let client = gradient.client.clone();
        let arguments = arguments.map(|tensor| client.resolve_tensor_float::<B>(tensor));
        let gradient = client.resolve_tensor_float::<B>(gradient);
        gradients::<B, F>(function, arguments, gradient).map(|tensor| fused::<B>(&client, tensor))
    }
}

impl<R: CubeRuntime, F: FloatElement, I: IntElement, T: BoolElement> BlendBackend for CubeBackend<R, F, I, T>
where
    CubeBackend<R, F, I, T>: burn::tensor::backend::Backend,
{
    fn is_queued() -> bool {
        true
    }
}

/// A tensor of the backend below as one that the fusing backend has made. Nothing is copied.
fn fused<B: FusionBackend>(client: &Client<B::FusionRuntime>, tensor: FloatTensor<B>) -> FloatTensor<Fusion<B>> {
    let (shape, dtype) = (tensor.shape(), tensor.dtype());
    let handle = B::float_tensor_handle(tensor);
    let init = InitOperationIr::create(shape, dtype, || client.register_tensor_handle(handle));
    client.register(OperationStreams::default(), OperationIr::Init(init), NoOp::<B>::new()).output()
}
