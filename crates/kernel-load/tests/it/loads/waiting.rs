//! A caller that needs its kernel before it goes on.

use std::time::Duration;

use kasmina_kernel_load::doubles::{Postbox, sample_descriptor};
use kasmina_kernel_load::{Answers, Fetched, KernelLoadManager, KernelMessages, LibraryError, NoKernels};
use kasmina_leyline::v1::{BlueprintDescriptor, KernelArtifactError, KernelPrefetchRequest};
use kasmina_leyline::{BlueprintId, UnixTime};

use super::{SOON, ask, at, call, gated_manager, here, settings};

#[test]
fn kernel_that_lands_ends_the_wait_for_it() {
    let (manager, gate) = gated_manager(&settings());
    let (one, other) = (ask(&manager, "one", 0), ask(&manager, "other", 0));
    assert!(!manager.wait_for(one, Duration::ZERO), "it is still on its way");
    let (first, second) = (gate.call(SOON).unwrap(), gate.call(SOON).unwrap());
    for call in [first, second] {
        let name = call.asked().to_string();
        call.answer(here(&name));
    }
    assert!(manager.wait_for(one, SOON) && manager.wait_for(other, SOON));
    assert_eq!(manager.poll(at(1)).len(), 2);
    assert!(!manager.wait_for(one, SOON), "it was polled, and there is nothing to wait for");
}

#[test]
fn kernel_that_comes_later_is_not_waited_for() {
    let (manager, gate) = gated_manager(&settings());
    let request = ask(&manager, "one", 0);
    call(&gate, "one").answer(Ok(Fetched::Later));
    assert!(!manager.wait_for(request, SOON));
    assert_eq!(manager.stats().outstanding, 1);
}

/// Answers each request with an error, when it is asked for answers.
struct Refusing(Postbox);

impl KernelMessages for Refusing {
    fn descriptor(&self, blueprint: &BlueprintId) -> Result<BlueprintDescriptor, LibraryError> {
        Ok(sample_descriptor(blueprint))
    }

    fn request(&self, request: KernelPrefetchRequest) -> Result<(), LibraryError> {
        self.0.request(request)
    }

    fn receive(&self, answers: &Answers) {
        for KernelPrefetchRequest { request_id, blueprint_id, .. } in self.0.sent() {
            answers.failed(&KernelArtifactError { request_id, blueprint_id, reason: "closed on Sundays".into() });
        }
    }
}

#[test]
fn answer_that_the_port_has_ends_the_wait_for_it() {
    let port = Refusing(Postbox::new());
    let manager = KernelLoadManager::over_messages(port, NoKernels, &settings(), UnixTime::from_millis(1));
    let request = ask(&manager, "one", 0);
    assert!(manager.wait_for(request, SOON));
    let arrived = manager.poll(at(1));
    assert_eq!(arrived[0].outcome.as_ref().unwrap_err().reason(), "library_refused");
}
