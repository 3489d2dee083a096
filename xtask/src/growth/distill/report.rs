//! What was measured, as a file and as text.

use std::{
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use kasmina::kernel_load::Digest;
use serde::Serialize;

use super::{cost::Cost, memory::Peak, student::Contender, text};
use crate::{
    failure::Failure,
    growth::{hosts::Shape, record::Score},
    machine::Machine,
};

/// One student.
#[derive(Serialize)]
pub(super) struct Taught {
    pub(super) contender: Contender,
    pub(super) seed: u64,
    pub(super) score: Score,
    pub(super) seconds: f64,
}

#[derive(Serialize)]
pub(super) struct Report {
    data: String,
    digest: String,
    machine: Machine,
    /// Student and teacher.
    networks: [String; 2],
    parameters: [usize; 2],
    pub(super) teacher: Option<Score>,
    pub(super) students: Vec<Taught>,
    pub(super) cost: Option<Cost>,
    pub(super) memory: Vec<Peak>,
}

impl Report {
    pub(super) fn new(data: &str, digest: Digest, shapes: [&Shape; 2]) -> Self {
        Self {
            data: data.to_owned(),
            digest: text(digest),
            machine: Machine::here(),
            networks: shapes.map(Shape::describe),
            parameters: shapes.map(Shape::parameters),
            teacher: None,
            students: Vec::new(),
            cost: None,
            memory: Vec::new(),
        }
    }

    /// Writes the report into the directory, and says where.
    pub(super) fn write(&self, directory: &Path) -> Result<PathBuf, Failure> {
        let path = directory.join(format!("{}.json", self.data));
        let mut json = serde_json::to_string_pretty(self)
            .map_err(|source| Failure::Json { what: "the report".to_owned(), source })?;
        json.push('\n');
        fs::write(&path, json).map_err(Failure::file("write", &path))?;
        Ok(path)
    }

    /// Tables in Markdown.
    pub(super) fn table(&self) -> String {
        let mut text = String::new();
        let mut line = |parts: std::fmt::Arguments<'_>| {
            // Writing into a text cannot fail.
            let _ = writeln!(text, "{parts}");
        };
        if !self.students.is_empty() {
            line(format_args!(
                "| student learns from | test accuracy, mean (least, most) | test loss, mean | runs |\n|---|---|---|---|"
            ));
            for contender in Contender::ALL {
                let of = || self.students.iter().filter(|it| it.contender == contender).map(|it| it.score);
                let accuracies: Vec<f64> = of().map(|score| 100.0 * score.accuracy).collect();
                let losses: Vec<f64> = of().map(|score| score.loss).collect();
                let least = accuracies.iter().copied().fold(f64::INFINITY, f64::min);
                let most = accuracies.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                line(format_args!(
                    "| {contender} | {:.2} % ({least:.2}, {most:.2}) | {:.4} | {} |",
                    mean(&accuracies),
                    mean(&losses),
                    losses.len()
                ));
            }
        }
        if let Some(Cost { step, cold, teacher, warm }) = self.cost {
            let over = |whole: f64| 100.0 * (whole / step - 1.0);
            line(format_args!("\n| step | ms | over the step without a teacher |\n|---|---|---|"));
            line(format_args!("| without a teacher | {step:.2} | |"));
            line(format_args!("| answer in the cache | {warm:.2} | {:+.1} % |", over(warm)));
            line(format_args!("| answer asked for, {teacher:.2} ms of it | {cold:.2} | {:+.1} % |", over(cold)));
        }
        if !self.memory.is_empty() {
            line(format_args!("\n| activations | peak of a step | time of a step |\n|---|---|---|"));
            for Peak { strategy, bytes, milliseconds } in &self.memory {
                let mebibytes = *bytes as f64 / f64::from(1 << 20);
                line(format_args!("| {strategy:?} | {mebibytes:.1} MiB | {milliseconds:.0} ms |"));
            }
        }
        text
    }
}

fn mean(numbers: &[f64]) -> f64 {
    numbers.iter().sum::<f64>() / numbers.len() as f64
}
