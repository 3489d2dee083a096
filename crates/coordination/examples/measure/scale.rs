//! A model of large groups: how long a round takes, and how many messages a node handles.

use std::path::Path;

use kasmina_canvas::{Canvas, HPos, PictureError, RGBColor};

/// What the model assumes. Microseconds, but for the bandwidth.
struct Link {
    /// One message from one node to another.
    latency: f64,
    /// Work of a node for each message that it takes or sends.
    handling: f64,
    /// Bytes in a microsecond: 1 GB/s.
    bandwidth: f64,
    /// Checking a signature, measured.
    verification: f64,
}

/// Children of one aggregator.
const FAN: f64 = 32.0;
/// Bytes of a signature in a certificate, with its worker; and of a promise.
const SIGNATURE: f64 = 70.0;
const PROMISE: f64 = 150.0;

#[derive(Clone, Copy)]
struct Round {
    millis: f64,
    /// Messages that the busiest node takes and sends.
    busiest: f64,
}

/// Everybody sends to everybody.
fn all_to_all(workers: f64, link: &Link) -> Round {
    // Proposals to the holder, its plan to all, votes and acceptances of all to all.
    let quorum = (2.0 * workers / 3.0).ceil();
    let holder = workers * link.handling + workers * link.verification;
    let plan = quorum * (link.verification + PROMISE / link.bandwidth);
    let votes = workers * 2.0 * link.handling + quorum * link.verification;
    let micros = 4.0 * link.latency + holder + plan + 2.0 * votes;
    Round { millis: micros / 1e3, busiest: workers + workers + 4.0 * workers }
}

/// Votes go to the holder, and certificates back, over aggregators that pass signatures on in batches.
fn aggregated(workers: f64, fan: f64, link: &Link) -> Round {
    let levels = if fan >= workers { 1.0 } else { (workers.ln() / fan.ln()).ceil() };
    let children = fan.min(workers);
    let quorum = (2.0 * workers / 3.0).ceil();
    // A level takes the messages of its children, and the bytes of all below it.
    let up = |bytes: f64| levels * (link.latency + children * link.handling) + workers * bytes / link.bandwidth;
    let down = |bytes: f64| levels * (link.latency + children * link.handling + bytes / link.bandwidth);
    // Aggregators check what they pass on, so that a liar costs its own subtree only; the holder does not trust them, and
    // neither does a worker: each checks a quorum of signatures, for the promises, the votes and the acceptances.
    let check = quorum * link.verification;
    let gather = |bytes: f64| up(bytes) + (levels - 1.0) * children * link.verification + check;
    let micros = gather(PROMISE)
        + down(quorum * PROMISE)
        + check
        + gather(SIGNATURE)
        + down(quorum * SIGNATURE)
        + check
        + gather(SIGNATURE)
        + down(quorum * SIGNATURE)
        + check;
    Round { millis: micros / 1e3, busiest: 6.0 * (children + 1.0) }
}

pub(crate) fn run(file: Option<&str>, verification: f64) {
    let link = Link { latency: 250.0, handling: 5.0, bandwidth: 1_000.0, verification };
    println!(
        "modelled: {} us a message between two nodes, {} us for a node to handle one, 1 GB/s, {verification:.1} us to check a \
         signature (measured), one core a node",
        link.latency, link.handling
    );
    println!(
        "workers | all to all: ms, messages of a node | to the holder: ms, its messages | 32:1: ms, messages of the busiest"
    );
    let sizes = [4.0, 8.0, 16.0, 32.0, 100.0, 316.0, 1_000.0, 3_162.0, 10_000.0];
    let mut curves = [Vec::new(), Vec::new(), Vec::new()];
    for workers in sizes {
        let rounds = [all_to_all(workers, &link), aggregated(workers, workers, &link), aggregated(workers, FAN, &link)];
        for (curve, round) in curves.iter_mut().zip(rounds) {
            curve.push((workers, round.millis));
        }
        let [all, flat, tree] = rounds.map(|round| format!("{:.1}, {:.0}", round.millis, round.busiest));
        println!("{workers} | {all} | {flat} | {tree}");
    }
    if let Some(file) = file {
        kasmina_canvas::png(Path::new(file), |canvas| draw(canvas, &curves)).unwrap();
    }
}

const INK: RGBColor = RGBColor(40, 40, 40);
const PALE: RGBColor = RGBColor(215, 215, 215);
const COLOURS: [RGBColor; 3] = [RGBColor(200, 80, 60), RGBColor(60, 110, 190), RGBColor(50, 140, 80)];
const NAMES: [&str; 3] = ["votes to all", "votes to the holder", "over 32:1 aggregators"];

fn draw(canvas: &Canvas<'_>, curves: &[Vec<(f64, f64)>; 3]) -> Result<(), PictureError> {
    let place = |(workers, millis): (f64, f64)| {
        (140.0 + workers.log10() / 4.0 * 1_000.0, 800.0 - (millis.log10().clamp(0.0, 4.0)) / 4.0 * 700.0)
    };
    canvas.text("One round, by the number of workers (modelled)", (140.0, 50.0), 30.0, INK, HPos::Left)?;
    for power in 0..=4 {
        let value = 10_f64.powi(power);
        let (x, _) = place((value, 1.0));
        let (_, y) = place((1.0, value));
        canvas.line(&[(x, 100.0), (x, 800.0)], 1.0, PALE)?;
        canvas.line(&[(140.0, y), (1_140.0, y)], 1.0, PALE)?;
        canvas.text(&format!("{value}"), (x, 825.0), 22.0, INK, HPos::Center)?;
        canvas.text(&format!("{value} ms"), (125.0, y), 22.0, INK, HPos::Right)?;
    }
    canvas.text("workers", (640.0, 865.0), 24.0, INK, HPos::Center)?;
    for (curve, colour) in curves.iter().zip(COLOURS) {
        let places: Vec<_> = curve.iter().map(|point| place(*point)).collect();
        canvas.line(&places, 3.0, colour)?;
        for place in &places {
            canvas.disc(*place, 5.0, colour)?;
        }
    }
    for (at, (colour, name)) in COLOURS.into_iter().zip(NAMES).enumerate() {
        let y = 130.0 + 34.0 * at as f64;
        canvas.line(&[(170.0, y), (210.0, y)], 4.0, colour)?;
        canvas.text(name, (225.0, y), 24.0, INK, HPos::Left)?;
    }
    Ok(())
}
