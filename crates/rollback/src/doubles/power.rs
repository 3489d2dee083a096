use super::{
    SimulatedDisk,
    simulated::{Content, Step},
};

/// What a power cut left.
#[derive(Clone, Debug)]
pub struct Image {
    /// The disk after the cut. Everything on it is durable.
    pub disk: SimulatedDisk,
    /// The last [`mark`](SimulatedDisk::mark) before the cut; 0 if there was none.
    pub mark: u64,
    /// Which steps had not been synced and what became of them, for messages.
    pub history: String,
}

impl SimulatedDisk {
    /// Calls `each` for what a power cut can leave.
    ///
    /// What was not synced may be there or not, in any combination: each sector of a write, the length of the file, each
    /// creation, rename and removal. The cuts are made before each successful sync and at the end; those in between leave a
    /// subset of the same steps. Up to 6 unsynced steps every combination is tried. Of more: none, all, each prefix, each step
    /// alone, all but each, and `extra` combinations drawn from `seed`.
    pub fn images(&self, extra: usize, seed: u64, mut each: impl FnMut(Image)) {
        let (base, steps) = {
            let disk = self.disk();
            (disk.base.clone(), disk.steps.clone())
        };
        let mut history = History { steps: &steps, states: vec![State::Pending; steps.len()], mark: 0 };
        let mut draws = Draws(seed | 1);
        for (at, step) in steps.iter().enumerate() {
            if matches!(step, Step::Sync { worked: true, .. } | Step::SyncDirectory { worked: true }) {
                history.cut(&base, at, extra, &mut draws, &mut each);
            }
            history.pass(at);
        }
        history.cut(&base, steps.len(), extra, &mut draws, &mut each);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Not synced.
    Pending,
    /// A sync of it failed: no later one counts.
    Doomed,
    Durable,
}

struct History<'a> {
    steps: &'a [Step],
    states: Vec<State>,
    mark: u64,
}

impl History<'_> {
    /// Lets the step at this place happen.
    fn pass(&mut self, at: usize) {
        match &self.steps[at] {
            Step::Mark(mark) => self.mark = *mark,
            Step::Sync { file, worked } => {
                let to = if *worked { State::Durable } else { State::Doomed };
                self.settle(at, to, |step| file_of(step) == Some(*file));
            }
            Step::SyncDirectory { worked: true } => self.settle(at, State::Durable, is_name),
            Step::SyncDirectory { worked: false }
            | Step::Write { .. }
            | Step::Extend { .. }
            | Step::Truncate { .. }
            | Step::Link { .. }
            | Step::Rename { .. }
            | Step::Unlink { .. } => {}
        }
    }

    fn settle(&mut self, before: usize, to: State, concerned: impl Fn(&Step) -> bool) {
        for (state, step) in self.states.iter_mut().zip(self.steps).take(before) {
            if *state == State::Pending && concerned(step) {
                *state = to;
            }
        }
    }

    fn cut(&self, base: &Content, at: usize, extra: usize, draws: &mut Draws, each: &mut impl FnMut(Image)) {
        let changes = |step: &Step| file_of(step).is_some() || is_name(step);
        let open: Vec<_> =
            (0..at).filter(|at| self.states[*at] != State::Durable && changes(&self.steps[*at])).collect();
        for kept in combinations(open.len(), extra, draws) {
            let mut content = base.clone();
            let (mut number, mut history) = (0, Vec::new());
            for (step, state) in self.steps.iter().zip(&self.states).take(at) {
                if !changes(step) {
                    continue;
                }
                let there = *state == State::Durable || {
                    number += 1;
                    kept[number - 1]
                };
                if there {
                    content.apply(step);
                }
                if *state != State::Durable {
                    history.push(format!("{} {}", if there { "kept" } else { "lost" }, describe(step)));
                }
            }
            let history = format!("cut before step {at}, after mark {}: {}", self.mark, history.join(", "));
            each(Image { disk: SimulatedDisk::holding(content), mark: self.mark, history });
        }
    }
}

/// Which of so many unsynced steps are kept.
fn combinations(count: usize, extra: usize, draws: &mut Draws) -> Vec<Vec<bool>> {
    if count <= 6 {
        return (0..1_usize << count).map(|bits| (0..count).map(|at| bits >> at & 1 == 1).collect()).collect();
    }
    let mut all: Vec<Vec<bool>> = (0..=count).map(|kept| (0..count).map(|at| at < kept).collect()).collect();
    for one in 0..count {
        all.push((0..count).map(|at| at == one).collect());
        all.push((0..count).map(|at| at != one).collect());
    }
    all.extend((0..extra).map(|_| (0..count).map(|_| draws.bit()).collect()));
    all
}

fn file_of(step: &Step) -> Option<usize> {
    match step {
        Step::Write { file, .. } | Step::Extend { file, .. } | Step::Truncate { file, .. } => Some(*file),
        Step::Link { .. }
        | Step::Rename { .. }
        | Step::Unlink { .. }
        | Step::Sync { .. }
        | Step::SyncDirectory { .. }
        | Step::Mark(_) => None,
    }
}

fn is_name(step: &Step) -> bool {
    matches!(step, Step::Link { .. } | Step::Rename { .. } | Step::Unlink { .. })
}

fn describe(step: &Step) -> String {
    match step {
        Step::Write { file, offset, bytes } => format!("write of {} bytes at {offset} of file {file}", bytes.len()),
        Step::Extend { file, length } | Step::Truncate { file, length } => format!("length {length} of file {file}"),
        Step::Link { name, .. } => format!("creation of {name:.16}"),
        Step::Rename { from, to, .. } => format!("rename of {from:.16} to {to:.16}"),
        Step::Unlink { name, .. } => format!("removal of {name:.16}"),
        Step::Sync { .. } | Step::SyncDirectory { .. } | Step::Mark(_) => String::new(),
    }
}

/// SplitMix64: repeatable from a seed.
struct Draws(u64);

impl Draws {
    fn bit(&mut self) -> bool {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb) >> 63 == 1
    }
}
