//! `scale`: how costs grow, and whether any grows faster than it may.

mod chart;
mod shapes;

use kasmina::safety::{Clock, SystemClock};
use kasmina_measure::{Curve, Effort, Machine, Meter, Point, Side, median};
use serde::Serialize;

use crate::{
    cli::{Device, ScaleArgs},
    devices,
    failure::Failure,
    progress::Progress,
    run,
};

/// A cost to be measured at growing sizes.
struct Shape {
    curve: Curve,
    /// What is measured at a size.
    build: Box<dyn Fn(u64) -> Side<'static>>,
    sizes: Vec<u64>,
}

/// What `--json` writes.
#[derive(Serialize)]
struct Report {
    machine: Machine,
    quick: bool,
    curves: Vec<Curve>,
}

pub(crate) fn measure(args: &ScaleArgs) -> Result<(), Failure> {
    let clock = SystemClock::new();
    let machine = devices::machine(Device::Flex, clock.unix());
    println!("{}\n", machine.text());
    let mut shapes = shapes::all(args.quick);
    let is_wanted = |id: &str| args.filter.is_empty() || args.filter.iter().any(|text| id.contains(text.as_str()));
    shapes.retain(|shape| is_wanted(&shape.curve.id));
    if shapes.is_empty() {
        return Err(Failure::Options(format!("no curve has {} in its id", args.filter.join(" or "))));
    }
    let effort = if args.quick { Effort::QUICK } else { Effort::FULL };
    let mut progress = Progress::of(shapes.len());
    let measured = shapes.into_iter().map(|shape| {
        progress.next(&shape.curve.id);
        shape.measure(Meter::new(&clock, effort).slow())
    });
    let curves: Vec<_> = measured.collect();
    progress.end();
    for curve in &curves {
        println!("{}", line(curve));
    }
    let steep: Vec<_> = curves.iter().filter(|curve| !curve.is_kept()).map(|curve| curve.id.clone()).collect();
    if let Some(path) = &args.picture {
        chart::draw(&curves, path)?;
    }
    if let Some(path) = &args.json {
        run::write(path, &Report { machine, quick: args.quick, curves })?;
    }
    if steep.is_empty() { Ok(()) } else { Err(Failure::Budget(format!("grows too fast: {}", steep.join(", ")))) }
}

impl Shape {
    /// All sizes in turns, so that a machine that slows down bends no curve.
    fn measure(self, meter: Meter<'_>) -> Curve {
        let Self { mut curve, build, sizes } = self;
        let mut sides: Vec<_> = sizes.iter().map(|size| build(*size)).collect();
        let samples = meter.turns(&mut sides);
        for (size, mut samples) in sizes.into_iter().zip(samples) {
            samples.sort_by(f64::total_cmp);
            let nanoseconds = median(&samples).unwrap_or_default();
            curve.points.push(Point { size: size as f64, nanoseconds });
        }
        curve
    }
}

fn line(curve: &Curve) -> String {
    let points: Vec<_> =
        curve.points.iter().map(|it| format!("{:.0}: {:.1} us", it.size, it.nanoseconds / 1e3)).collect();
    let exponent = curve.exponent().map_or_else(|| "unknown".to_owned(), |exponent| format!("{exponent:.2}"));
    let verdict = if curve.is_kept() { "ok" } else { "TOO FAST" };
    let (growth, most) = (curve.growth.text(), curve.growth.most());
    format!(
        "{:<28} {verdict:<8} exponent {exponent}, {growth} (at most {most})  {}\n    {} by {}",
        curve.id,
        points.join(", "),
        curve.title,
        curve.of
    )
}
