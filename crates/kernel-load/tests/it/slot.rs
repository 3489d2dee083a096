//! Whether a kernel fits a slot.

use burn::tensor::DType;
use kasmina_kernel_load::{Misfit, SlotActivation, SlotContract};

#[test]
fn contract_fits_the_slot_that_it_describes_and_no_other() {
    let contract = SlotContract::f32(3, 8, 6);
    let slot = SlotActivation { rank: 3, channels_in: 8, channels_out: 6, dtype: DType::F32 };
    assert_eq!(contract.fits(&slot), Ok(()));
    for got in [
        SlotActivation { rank: 2, ..slot },
        SlotActivation { channels_in: 7, ..slot },
        SlotActivation { channels_out: 8, ..slot },
        SlotActivation { dtype: DType::BF16, ..slot },
    ] {
        assert_eq!(contract.fits(&got), Err(Misfit { expected: slot, got }));
    }
}

#[test]
fn misfit_names_both_sides() {
    let got = SlotActivation { rank: 4, channels_in: 3, channels_out: 3, dtype: DType::BF16 };
    let text = SlotContract::f32(2, 8, 6).fits(&got).unwrap_err().to_string();
    assert_eq!(text, "the kernel takes rank 2, 8 to 6 channels, f32; the slot has rank 4, 3 to 3 channels, bf16");
}
