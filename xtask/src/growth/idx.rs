//! The file format of MNIST: a magic number, sizes, and bytes. <http://yann.lecun.com/exdb/mnist/> describes it.

/// Rows and columns of an image.
pub(super) const SIDE: usize = 28;
/// Unsigned bytes in one dimension: labels.
const LABELS: u32 = 0x0801;
/// Unsigned bytes in three dimensions: images, rows, columns.
const IMAGES: u32 = 0x0803;

/// Why bytes are not a file of images or labels.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum IdxError {
    #[error("begins with {found:#010x} instead of {expected:#010x}")]
    Magic { expected: u32, found: u32 },
    #[error("has {found} bytes, its header alone {expected}")]
    Header { expected: usize, found: usize },
    #[error("has {found} bytes instead of the {expected} that its header announces")]
    Length { expected: u64, found: usize },
    #[error("has images of {rows} x {columns} pixels instead of {SIDE} x {SIDE}")]
    Shape { rows: u32, columns: u32 },
    #[error("has label {label} at {index}; a label is from 0 to 9")]
    Label { index: usize, label: u8 },
    #[error("is empty: it announces no {0}")]
    Empty(&'static str),
}

/// The grey values of a file of images, 0 to 255, one image of 28 x 28 bytes behind the other.
pub(super) fn images(bytes: &[u8]) -> Result<&[u8], IdxError> {
    let ([count, rows, columns], pixels) = header::<3>(bytes, IMAGES)?;
    if (rows, columns) != (SIDE as u32, SIDE as u32) {
        return Err(IdxError::Shape { rows, columns });
    }
    announced(bytes.len(), pixels, 16, u64::from(count) * (SIDE * SIDE) as u64)?;
    if pixels.is_empty() { Err(IdxError::Empty("images")) } else { Ok(pixels) }
}

/// The labels of a file of labels, 0 to 9.
pub(super) fn labels(bytes: &[u8]) -> Result<&[u8], IdxError> {
    let ([count], labels) = header::<1>(bytes, LABELS)?;
    announced(bytes.len(), labels, 8, u64::from(count))?;
    if let Some((index, label)) = labels.iter().enumerate().find(|(_, label)| **label > 9) {
        return Err(IdxError::Label { index, label: *label });
    }
    if labels.is_empty() { Err(IdxError::Empty("labels")) } else { Ok(labels) }
}

/// The sizes, and what follows them. All numbers are of four bytes, the most significant one first.
fn header<const SIZES: usize>(bytes: &[u8], magic: u32) -> Result<([u32; SIZES], &[u8]), IdxError> {
    let short = |expected| IdxError::Header { expected, found: bytes.len() };
    let number = |at: usize| {
        let four = bytes.get(4 * at..4 * at + 4)?;
        Some(four.iter().fold(0, |number, byte| (number << 8) | u32::from(*byte)))
    };
    let found = number(0).ok_or_else(|| short(4 + 4 * SIZES))?;
    if found != magic {
        return Err(IdxError::Magic { expected: magic, found });
    }
    let mut sizes = [0; SIZES];
    for (index, size) in sizes.iter_mut().enumerate() {
        *size = number(index + 1).ok_or_else(|| short(4 + 4 * SIZES))?;
    }
    Ok((sizes, bytes.get(4 + 4 * SIZES..).unwrap_or_default()))
}

fn announced(found: usize, data: &[u8], header: u64, expected: u64) -> Result<(), IdxError> {
    if data.len() as u64 == expected { Ok(()) } else { Err(IdxError::Length { expected: header + expected, found }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(numbers: &[u32], data: &[u8]) -> Vec<u8> {
        numbers.iter().flat_map(|number| number.to_be_bytes()).chain(data.iter().copied()).collect()
    }

    #[test]
    fn sound_files_give_their_bytes() {
        let pixels: Vec<u8> = (0..2 * 784_u32).map(|index| index as u8).collect();
        assert_eq!(images(&file(&[IMAGES, 2, 28, 28], &pixels)), Ok(&pixels[..]));
        assert_eq!(labels(&file(&[LABELS, 3], &[0, 9, 5])), Ok(&[0, 9, 5][..]));
    }

    #[test]
    fn every_truncation_of_a_file_is_refused() {
        let whole = file(&[IMAGES, 2, 28, 28], &[7; 2 * 784]);
        for length in 0..whole.len() {
            let error = images(&whole[..length]).unwrap_err();
            let header = length < 16;
            assert_eq!(matches!(error, IdxError::Header { .. }), header, "{length} bytes: {error}");
            assert_eq!(matches!(error, IdxError::Length { .. }), !header, "{length} bytes: {error}");
        }
        let whole = file(&[LABELS, 4], &[1, 2, 3, 4]);
        assert!((0..whole.len()).all(|length| labels(&whole[..length]).is_err()));
    }

    #[test]
    fn bytes_too_many_are_refused() {
        let error = IdxError::Length { expected: 10, found: 11 };
        assert_eq!(labels(&file(&[LABELS, 2], &[1, 2, 3])), Err(error));
    }

    #[test]
    fn sizes_that_would_overflow_are_refused() {
        let expected = 16 + u64::from(u32::MAX) * 784;
        assert_eq!(images(&file(&[IMAGES, u32::MAX, 28, 28], &[])), Err(IdxError::Length { expected, found: 16 }));
        let huge = file(&[IMAGES, u32::MAX, u32::MAX, u32::MAX], &[]);
        assert_eq!(images(&huge), Err(IdxError::Shape { rows: u32::MAX, columns: u32::MAX }));
    }

    #[test]
    fn other_formats_are_named() {
        let swapped = file(&[IMAGES.swap_bytes(), 1, 28, 28], &[0; 784]);
        assert_eq!(images(&swapped), Err(IdxError::Magic { expected: 0x803, found: 0x0308_0000 }));
        let labels_file = file(&[LABELS, 1], &[3]);
        assert_eq!(images(&labels_file), Err(IdxError::Magic { expected: 0x803, found: 0x801 }));
        assert_eq!(labels(b"\x1f\x8b\x08\0etc."), Err(IdxError::Magic { expected: 0x801, found: 0x1f8b_0800 }));
    }

    #[test]
    fn labels_above_nine_are_named() {
        assert_eq!(labels(&file(&[LABELS, 3], &[1, 9, 10])), Err(IdxError::Label { index: 2, label: 10 }));
    }

    #[test]
    fn files_of_nothing_are_refused() {
        assert_eq!(images(&file(&[IMAGES, 0, 28, 28], &[])), Err(IdxError::Empty("images")));
        assert_eq!(labels(&file(&[LABELS, 0], &[])), Err(IdxError::Empty("labels")));
    }
}
