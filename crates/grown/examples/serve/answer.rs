//! Loads a network and answers, without autodiff and without a manager.

use std::error::Error;
use std::io::{BufRead, Write};
use std::path::Path;

use burn::backend::Flex;
use burn::tensor::{Tensor, TensorData};
use kasmina_grown::Grown;

use super::model::Host;

/// Loads the file and answers every line of the questions.
pub(crate) fn serve(path: &Path, questions: impl BufRead, answers: &mut impl Write) -> Result<(), Box<dyn Error>> {
    let device = Default::default();
    answer(&Grown::<Flex, _>::load(path, Host::new(&device), &device)?, questions, answers)
}

/// Prints two numbers for each line of three. Empty lines are skipped.
pub(crate) fn answer(
    network: &Grown<Flex, Host<Flex>>,
    questions: impl BufRead,
    answers: &mut impl Write,
) -> Result<(), Box<dyn Error>> {
    for (number, line) in (1..).zip(questions.lines()) {
        let line = line?;
        let numbers = line
            .split_whitespace()
            .map(|word| word.parse().map_err(|_| format!("line {number}: {word:?} is not a number")));
        let numbers: Vec<f32> = numbers.collect::<Result<_, _>>()?;
        if numbers.is_empty() {
            continue;
        }
        if numbers.len() != 3 {
            return Err(format!("line {number}: expected 3 numbers, got {}", numbers.len()).into());
        }
        let x = Tensor::<Flex, 2>::from_data(TensorData::new(numbers, [1, 3]), &Default::default());
        let y: Vec<f32> = network
            .forward(|host, grafts| host.forward(x, grafts))?
            .into_data()
            .to_vec()
            .map_err(|error| format!("{error:?}"))?;
        // The shortest text that reads as the same number: nothing is rounded.
        writeln!(answers, "{} {}", y[0], y[1])?;
    }
    Ok(())
}
