//! The frame of a record: TFRecord.

use crc::{CRC_32_ISCSI, Crc};
use prost::Message;

use crate::tensorboard::proto::Event;

/// CRC-32C, which the catalogue of checksums calls after iSCSI.
const CRC_32C: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

/// Length (64 bits, little-endian), its checksum, the event, its checksum.
pub(super) fn record(event: &Event) -> Vec<u8> {
    let event = event.encode_to_vec();
    let length = (event.len() as u64).to_le_bytes();
    let mut record = Vec::with_capacity(event.len() + 16);
    record.extend(length);
    record.extend(masked_checksum(&length));
    record.extend(&event);
    record.extend(masked_checksum(&event));
    record
}

/// TFRecord's masked checksum: rotated and shifted, because a checksum of bytes that hold their own checksum is worth little.
fn masked_checksum(bytes: &[u8]) -> [u8; 4] {
    CRC_32C.checksum(bytes).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}
