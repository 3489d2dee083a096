//! What there is to learn: a sine of a sum, for one batch of 32 rows that an epoch shows 20 times.

use std::sync::Arc;

use burn::{
    data::{
        dataloader::{DataLoader, DataLoaderBuilder, batcher::Batcher},
        dataset::InMemDataset,
    },
    tensor::{Tensor, TensorData, backend::Backend},
};

use crate::Batch;

/// Rows in a batch.
pub const ROWS: usize = 32;
/// Batches in an epoch.
pub const BATCHES: u64 = 20;

/// Inputs and target of one row.
pub type Row = ([f32; 8], f32);

/// The rows of every batch.
#[must_use]
pub fn rows() -> Vec<Row> {
    // Knuth's MMIX generator: the rows are the same everywhere, and no other generator moves.
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
    };
    let row = |_| {
        let x: [f32; 8] = std::array::from_fn(|_| next());
        (x, (2.0 * x.iter().sum::<f32>()).sin())
    };
    (0..ROWS).map(row).collect()
}

/// Makes batches of rows.
#[derive(Clone, Copy, Debug)]
pub struct Rows;

impl<B: Backend> Batcher<B, Row, Batch<B>> for Rows {
    fn batch(&self, rows: Vec<Row>, device: &B::Device) -> Batch<B> {
        let x: Vec<f32> = rows.iter().flat_map(|(x, _)| *x).collect();
        let y: Vec<f32> = rows.iter().map(|(_, y)| *y).collect();
        let tensor = |numbers, columns| Tensor::from_data(TensorData::new(numbers, [rows.len(), columns]), device);
        Batch { x: tensor(x, 8), y: tensor(y, 1) }
    }
}

/// The batch that every batch is.
#[must_use]
pub fn first_batch<B: Backend>(device: &B::Device) -> Batch<B> {
    Rows.batch(rows(), device)
}

/// The batches of an epoch.
#[must_use]
pub fn loader<B: Backend>() -> Arc<dyn DataLoader<B, Batch<B>>> {
    let rows = (0..BATCHES).flat_map(|_| rows()).collect();
    DataLoaderBuilder::new(Rows).batch_size(ROWS).build(InMemDataset::new(rows))
}
