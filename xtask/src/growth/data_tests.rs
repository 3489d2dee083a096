use std::{fs, io::Write};

use flate2::{Compression, write::GzEncoder};

use super::*;

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn idx_file(numbers: &[u32], data: &[u8]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_be_bytes()).chain(data.iter().copied()).collect()
}

/// 24 images to learn from and 2 to test with; each is filled with its number, and has that number's last digit for a label.
fn small_mnist(directory: &Path, labels: u32) {
    let images = |count: u32| {
        let pixels: Vec<u8> = (0..count).flat_map(|image| [image as u8; 784]).collect();
        idx_file(&[0x803, count, 28, 28], &pixels)
    };
    let labelled = |count: u32| idx_file(&[0x801, count], &(0..count).map(|it| (it % 10) as u8).collect::<Vec<_>>());
    fs::write(directory.join("train-images-idx3-ubyte.gz"), packed(&images(24))).unwrap();
    fs::write(directory.join("train-labels-idx1-ubyte"), labelled(labels)).unwrap();
    fs::write(directory.join("t10k-images-idx3-ubyte"), images(2)).unwrap();
    fs::write(directory.join("t10k-labels-idx1-ubyte.gz"), packed(&labelled(2))).unwrap();
}

fn message(source: &Source) -> String {
    source.read().err().unwrap().to_string()
}

#[test]
fn names_of_data_are_read() {
    assert_eq!("digits".parse(), Ok(Source::Digits));
    assert_eq!("mnist:a:b".parse(), Ok(Source::Mnist("a:b".into())));
    assert_eq!("text:x.txt".parse(), Ok(Source::Text("x.txt".into())));
    for wrong in ["", "mnist", "mnist:", "text", "digits:x", "addition:", "cifar:x"] {
        assert!(wrong.parse::<Source>().is_err(), "{wrong:?}");
    }
}

#[test]
fn mnist_is_read_packed_or_not_and_keeps_its_labels() {
    let held = tempfile::tempdir().unwrap();
    small_mnist(held.path(), 24);
    let data = Source::Mnist(held.path().to_owned()).read().unwrap();
    assert_eq!([data.train.len(), data.validation.len(), data.test.len()], [22, 2, 2]);
    let mut seen = Vec::new();
    for part in [&data.train, &data.validation] {
        let Examples::Images(images) = part else { panic!("images were asked for") };
        for (image, label) in images.pixels.chunks_exact(784).zip(&images.labels) {
            assert_eq!(image[0] % 10, *label);
            seen.push(image[0]);
        }
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..24).collect::<Vec<u8>>());
}

#[test]
fn files_that_are_missing_or_wrong_are_named() {
    let held = tempfile::tempdir().unwrap();
    let source = Source::Mnist(held.path().to_owned());
    let text = message(&source);
    assert!(text.ends_with("has neither train-images-idx3-ubyte nor train-images-idx3-ubyte.gz"), "{text}");
    small_mnist(held.path(), 23);
    assert!(message(&source).ends_with(": 24 images with 23 labels"), "{}", message(&source));
    small_mnist(held.path(), 24);
    fs::write(held.path().join("t10k-images-idx3-ubyte"), b"\0\0\x08").unwrap();
    let text = message(&source);
    assert!(text.ends_with(": t10k-images-idx3-ubyte has 3 bytes, its header alone 16"), "{text}");
}

#[test]
fn a_gzip_file_that_is_cut_is_an_error() {
    let held = tempfile::tempdir().unwrap();
    let path = held.path().join("text.gz");
    let whole = packed("the same line again and again\n".repeat(400).as_bytes());
    for length in [2, 10, whole.len() / 2, whole.len() - 1] {
        fs::write(&path, &whole[..length]).unwrap();
        let text = message(&Source::Text(path.clone()));
        assert!(text.starts_with("cannot read "), "{length} bytes: {text}");
    }
    fs::write(&path, whole).unwrap();
    assert!(Source::Text(path).read().is_ok());
}

#[test]
fn a_gzip_file_that_unpacks_to_too_much_is_refused() {
    let held = tempfile::tempdir().unwrap();
    let path = held.path().join("bomb");
    fs::write(&path, packed(&vec![b'a'; MOST_BYTES as usize + 1])).unwrap();
    assert!(message(&Source::Text(path)).contains("has more than 67108864 bytes"));
}

#[test]
fn the_digits_are_the_demos() {
    let data = Source::Digits.read().unwrap();
    assert_eq!([data.train.len(), data.validation.len(), data.test.len()], [1257, 180, 360]);
    assert_eq!((data.side(), data.classes), (8, 10));
}

#[test]
fn a_digest_tells_data_apart_that_differs_by_a_byte() {
    let held = tempfile::tempdir().unwrap();
    let path = held.path().join("text");
    let digest = |text: &str| {
        fs::write(&path, text).unwrap();
        Source::Text(path.clone()).read().unwrap().digest()
    };
    let text = "the same line again and again\n".repeat(400);
    let other = text.replacen("again", "AGAIN", 1);
    assert_eq!(digest(&text), digest(&text));
    assert_ne!(digest(&text), digest(&other));
    let mut digits = Source::Digits.read().unwrap();
    let whole = digits.digest();
    if let Examples::Images(images) = &mut digits.test {
        images.labels[0] ^= 1;
    }
    assert_ne!(digits.digest(), whole);
}
