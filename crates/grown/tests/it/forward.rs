//! The forward of a grown network is that of the host with its kernels at their slots.

use burn::backend::Flex;
use burn::module::AutodiffModule;
use burn::tensor::Tensor;
use kasmina_blending::{Alpha, committed_blend};
use kasmina_grown::{ForwardError, Fossil, Grown};
use kasmina_isolation::{Grafts, PassKind};
use kasmina_kernel_load::{LayerSpec, Manifest};
use kasmina_leyline::BlueprintId;

use crate::common::{Host, answers, batch, contract, fossil, grown, kernel, spec, trained};

#[test]
fn forward_is_the_host_with_its_kernels_blended_in() {
    let network = trained().valid();
    let host = &network.host;
    let h = burn::tensor::activation::relu(host.norm.forward(host.stem.forward(batch(99))));
    let graft = |index: usize, h: Tensor<Flex, 2>| {
        let fossil = &network.fossils()[index];
        let seed = fossil.kernel().forward(h.clone()).unwrap();
        committed_blend(h, seed, fossil.blend(), Alpha::ONE, None).unwrap()
    };
    let out = host.head.forward(graft(1, graft(0, h).tanh()));
    let expected: Vec<u32> = out.into_data().iter::<f32>().map(f32::to_bits).collect();
    assert_eq!(answers(&network), expected);
    let bare = host.forward(batch(99), &mut Grafts::none());
    assert_ne!(bare.into_data().iter::<f32>().map(f32::to_bits).collect::<Vec<_>>(), expected, "the fossils matter");
}

#[test]
fn network_without_fossils_is_its_host() {
    let network = Grown::new(Host::<Flex>::new());
    let host = network.host.forward(batch(99), &mut Grafts::none());
    assert_eq!(answers(&network), host.into_data().iter::<f32>().map(f32::to_bits).collect::<Vec<_>>());
    assert_eq!(network.grafts().pass(), PassKind::Committed);
}

#[test]
fn fossils_of_one_slot_run_in_their_order() {
    let fossils = [spec("seed-1", "mid"), spec("second", "mid")];
    let kernels = [0, 1].map(|index| kernel::<Flex>(&fossils[index].manifest, index as u64));
    let both = fossils.into_iter().zip(kernels.clone()).map(|(spec, kernel)| Fossil::new(spec, kernel).unwrap());
    let network = Grown::from_parts(Host::<Flex>::new(), both).unwrap();
    let (host, x) = (&network.host, batch(99));
    let h = burn::tensor::activation::relu(host.norm.forward(host.stem.forward(x)));
    let through = |h: Tensor<Flex, 2>, index: usize| h.clone() + kernels[index].forward(h).unwrap();
    let bits = |h: Tensor<Flex, 2>| -> Vec<u32> {
        host.head.forward(h.tanh()).into_data().iter::<f32>().map(f32::to_bits).collect()
    };
    assert_eq!(answers(&network), bits(through(through(h.clone(), 0), 1)));
    assert_ne!(answers(&network), bits(through(through(h, 1), 0)));
}

#[test]
fn slot_that_the_forward_leaves_out_is_an_error() {
    let network = Grown::from_parts(Host::<Flex>::new(), [fossil("seed-1", "elsewhere")]).unwrap();
    let error = network.forward(|host, grafts| host.forward(batch(1), grafts)).unwrap_err();
    assert!(matches!(&error, ForwardError::SlotNotReached { slot, .. } if slot.as_str() == "elsewhere"));
    assert_eq!(error.reason(), "slot_not_reached");
}

#[test]
fn kernel_that_does_not_fit_its_slot_is_an_error() {
    let mut wide = spec("seed-1", "mid");
    let layers = vec![LayerSpec::LayerNorm { channels: 4 }];
    wide.manifest = Manifest::new(BlueprintId::new("tokens").unwrap(), contract(3), layers).unwrap();
    let kernel = kernel(&wide.manifest, 1);
    let network = Grown::from_parts(Host::<Flex>::new(), [Fossil::new(wide, kernel).unwrap()]).unwrap();
    let error = network.forward(|host, grafts| host.forward(batch(1), grafts)).unwrap_err();
    assert_eq!(error.reason(), "input_rank");
    assert!(error.to_string().contains("seed-1"));
}

#[test]
fn kernel_of_another_manifest_is_no_fossil() {
    let mut other = spec("seed-1", "mid");
    let kernel = kernel::<Flex>(&other.manifest, 1);
    other.manifest =
        Manifest::new(BlueprintId::new("other").unwrap(), contract(2), vec![LayerSpec::linear(4, 4)]).unwrap();
    assert_eq!(Fossil::new(other, kernel.clone()).unwrap_err().reason(), "kernel_mismatch");
    let mut invalid = spec("seed-1", "mid");
    invalid.manifest.parameter_count += 1;
    assert_eq!(Fossil::new(invalid, kernel).unwrap_err().reason(), "parameter_count");
    assert_eq!(grown::<Flex>().fossils().len(), 2);
}
