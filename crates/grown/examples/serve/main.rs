//! Two programs in one. The first trains a network with a fossil and saves it. The second loads the file in another process and answers:
//! it reads three numbers a line and prints the network's two.
//!
//! ```text
//! cargo run -p kasmina-grown --example serve -- train network.safetensors
//! echo 0.5 -1 0.25 | cargo run -p kasmina-grown --example serve -- serve network.safetensors
//! ```

mod answer;
mod model;

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["train", path] => Ok(model::train()?.save(path)?),
        ["serve", path] => answer::serve(path.as_ref(), std::io::stdin().lock(), &mut std::io::stdout().lock()),
        _ => Err("usage: serve train|serve FILE".into()),
    }
}
