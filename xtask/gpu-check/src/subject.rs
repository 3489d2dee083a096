//! The hosts of all checks as one type with one loss, so that the manager is compiled once for a device and not for each of them.

use std::rc::Rc;

use burn::{
    module::Module,
    tensor::{Tensor, backend::Backend},
};
use kasmina::{
    Grafts,
    blending::BlendBackend,
    doubles::{Cnn, Host, Mlp, Seat, Stack, loss},
};

use crate::numbers::random;

/// A host of any kind.
#[derive(Module, Debug)]
#[expect(clippy::large_enum_variant, reason = "Burn does not take a box as a module, and there are few")]
pub(crate) enum Subject<B: Backend> {
    Mlp(Mlp<B>),
    Cnn(Cnn<B>),
    Stack(Stack<B>),
}

/// The loss of a host in a step.
pub(crate) type Loss<B> = Rc<dyn Fn(&Subject<B>, u64, &mut Grafts<B>) -> Tensor<B, 1>>;

impl<B: BlendBackend> Host<B> for Subject<B> {
    fn forward(&self, x: Tensor<B, 2>, grafts: &mut Grafts<B>) -> Tensor<B, 2> {
        match self {
            Self::Mlp(host) => host.forward(x, grafts),
            Self::Cnn(host) => host.forward(x, grafts),
            Self::Stack(host) => host.forward(x, grafts),
        }
    }

    fn seats(&self) -> Vec<Seat> {
        match self {
            Self::Mlp(host) => Host::<B>::seats(host),
            Self::Cnn(host) => Host::<B>::seats(host),
            Self::Stack(host) => Host::<B>::seats(host),
        }
    }
}

/// The loss that the doubles have for their hosts.
pub(crate) fn of_stock<B: BlendBackend>() -> Loss<B> {
    Rc::new(|host, step, grafts| loss(host, step, grafts))
}

/// How far the outputs of a stack are from its inputs, `batch` of them, which `seed` and the step decide.
pub(crate) fn of_stack<B: BlendBackend>(seed: u64, [batch, width]: [usize; 2]) -> Loss<B> {
    Rc::new(move |host, step, grafts| {
        let x = random::<B, 2>(&mut fastrand::Rng::with_seed(seed ^ step), [batch, width]);
        (host.forward(x.clone(), grafts) - x).square().mean()
    })
}
