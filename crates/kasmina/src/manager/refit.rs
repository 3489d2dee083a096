//! Running statistics that fit the live view.

use kasmina_blending::GraftBackend;
use kasmina_grown::{Grown, HostModule};
use kasmina_isolation::{Grafts, RngStream, refit_statistics};

use crate::manager::SeedManager;

impl<B: GraftBackend> SeedManager<B> {
    /// A copy of the model whose running statistics (those of batch normalisations) fit the [live view](Self::live_view). Evaluate that
    /// view with the copy's `valid()`.
    ///
    /// The host collects its running statistics in its own pass, in which no seed under trial has a part. A seed before a batch
    /// normalisation changes what comes there, so the host's own statistics are wrong for the live view; and for a seed that has
    /// just been fossilised they are wrong until the host has trained on with it. Only evaluation shows this, because training mode
    /// does not read them.
    ///
    /// Each item of `forwards` runs the host that it is given on one batch, in training mode and without a gradient; what it returns is
    /// dropped. The first is run twice. A few batches do: eight, in our tests. Without any, the statistics are the host's. The host,
    /// the seeds and the backend's random numbers that the trainer draws before the next batch are as they are at the end of a step.
    ///
    /// ```
    /// # use kasmina::{Settings, doubles::{Act::*, Cnn, Trainee, World, loss}, gates::doubles::AllowAll};
    /// use burn::module::AutodiffModule;
    ///
    /// # let mut world = World::build(Settings::default(), |builder| {
    /// #     builder.gatekeepers(AllowAll).volatile().build(&Default::default()).unwrap()
    /// # });
    /// # let mut trainee = Trainee::new(Cnn::init());
    /// # world.attach(&trainee.model);
    /// # world.live(&mut trainee, 15, &[(1, Germinate), (10, Graft(10))]);
    /// # let (manager, model) = (world.manager, trainee.model);
    /// let batches = (0..8).map(|batch| move |host: &Cnn<_>, grafts: &mut kasmina::Grafts<_>| loss(host, batch, grafts));
    /// let refitted = manager.refit_statistics(&model, batches);
    /// let validation = loss(&refitted.valid().host, 8, &mut manager.live_view(&model));
    /// # assert!(validation.into_scalar().is_finite());
    /// ```
    #[must_use]
    pub fn refit_statistics<H, R, F>(&self, model: &Grown<B, H>, forwards: impl IntoIterator<Item = F>) -> Grown<B, H>
    where
        H: HostModule<B>,
        F: Fn(&H, &mut Grafts<B>) -> R,
    {
        let cast = self.cast(model);
        let on_host = |forward: F| move |model: &Grown<B, H>, grafts: &mut Grafts<B>| forward(&model.host, grafts);
        let refitted = refit_statistics(model, || cast.measured(&[]), forwards.into_iter().map(on_host));
        self.rng().start(RngStream::Trainer);
        refitted
    }
}
