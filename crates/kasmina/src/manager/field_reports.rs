//! What a policy is told at the end of a seed's life.

use kasmina_blending::GraftBackend;
use kasmina_engine::{Event, LifeEnded};
use kasmina_leyline::v1::FieldReport;
use kasmina_telemetry::{self as telemetry, field_report_event};

use crate::manager::SeedManager;

impl<B: GraftBackend> SeedManager<B> {
    /// Reports the lives that ended in these events.
    pub(super) fn report_ends(&mut self, events: &[Event]) {
        for event in events {
            if let Event::LifeEnded(ended) = event {
                let report = self.field_report(ended);
                self.reporter.emit(Some(&ended.seed.id), report);
            }
        }
    }

    /// The report of a life that has just ended. Its id names the run, the seed and the time: a seed lives more than once.
    pub(super) fn field_report(&self, ended: &LifeEnded) -> telemetry::Event {
        let (run, seed, at) = (&self.reading.run, &ended.seed, self.clock.unix());
        field_report_event(&FieldReport {
            version: 1,
            report_id: format!("{run}/{}/{}", seed.id, at.as_nanos()),
            command_id: ended.by.as_ref().map(ToString::to_string).unwrap_or_default(),
            training_run_id: run.to_string(),
            seed_id: seed.id.to_string(),
            blueprint_id: ended.blueprint.to_string(),
            outcome: ended.outcome.into(),
            metrics: metrics(ended).map(|(name, value)| (name.to_owned(), value)).collect(),
            observation_window_epochs: u32::try_from(ended.epochs).unwrap_or(u32::MAX),
            issued_at: Some(at.into()),
            notes: ended.reason.to_owned(),
            ..FieldReport::default()
        })
    }
}

/// What was known of the seed at its end.
fn metrics(ended: &LifeEnded) -> impl Iterator<Item = (&'static str, f32)> {
    let (stage, violations) = (&ended.seed.stage, ended.seed.violations);
    let contribution = stage.contribution().filter(|contribution| contribution.probes() > 0);
    let vitals = stage.graft().map(|graft| &graft.vitals);
    let known = [
        ("contribution_mean", contribution.map(|contribution| contribution.mean() as f32)),
        ("contribution_error", contribution.and_then(|contribution| contribution.error()).map(|error| error as f32)),
        ("contribution_probes", contribution.map(|contribution| contribution.probes() as f32)),
        ("alpha", stage.alpha().map(|alpha| alpha.get())),
        ("loss", vitals.and_then(|vitals| vitals.losses.back().copied())),
        ("gradient_norm", vitals.and_then(|vitals| vitals.gradient_norm)),
        ("parameter_tensors", stage.graft().map(|graft| graft.parameters as f32)),
        ("isolation_violations", Some(violations as f32)),
    ];
    known.into_iter().filter_map(|(name, value)| Some((name, value?)))
}
