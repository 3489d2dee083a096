//! The priority of the manager's threads.

/// How much nicer they are than the thread that starts them. Our choice: where both want a core, the trainer has nine
/// tenths of it. With as many loads in flight as there are, a training step of 40 ms on two cores took 1.03 times as long, and
/// 2.4 times with equal priorities; with 19 the loads took three times as long.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;

/// Lowers the priority of this thread. Linux alone has one for each thread; elsewhere, and where the system refuses,
/// nothing changes.
pub(crate) fn give_way() {
    #[cfg(target_os = "linux")]
    let _ = rustix::process::nice(NICENESS);
}
