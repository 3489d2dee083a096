//! Threads that ask, work, cancel and poll at the same time, in many orders.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use kasmina_leyline::{BlueprintId, Monotonic, SeedId, TrainingRunId, UnixTime};
use shuttle::sync::mpsc::{Receiver, Sender, channel};
use shuttle::sync::{Mutex, MutexGuard};
use shuttle::thread;

use super::Desk;
use crate::LoadSettings;
use crate::manager::effects::{Answered, Asked, Outcome};
use crate::manager::flights::{Job, Step};
use crate::manager::loads::Loads;
use crate::manager::{LoadRequest, Purpose, RequestId};

/// Orders of the threads that are tried.
const SCHEDULES: usize = 2_000;
/// Choices of pct that are not the first runnable thread.
const DEPTH: usize = 4;

/// A desk, the jobs that it gives out, and what became of everybody who asked.
#[derive(Clone)]
struct Office {
    desk: Arc<Desk<u32>>,
    jobs: Sender<Job>,
    book: Arc<Mutex<Book>>,
}

#[derive(Default)]
struct Book {
    /// The blueprints that a thread works on.
    at_work: BTreeSet<BlueprintId>,
    done: u32,
    pending: BTreeSet<RequestId>,
    arrived: BTreeSet<RequestId>,
    cancelled: BTreeSet<RequestId>,
}

fn office() -> (Office, Receiver<Job>) {
    office_over(false)
}

/// Its library is called, or is sent messages.
fn office_over(messages: bool) -> (Office, Receiver<Job>) {
    let (jobs, receiver) = channel();
    let settings = LoadSettings { threads: 2, timeout_ms: 10, ..LoadSettings::default() };
    (Office { desk: Arc::new(Desk::new(Loads::new(&settings, messages))), jobs, book: Arc::default() }, receiver)
}

fn request(name: &str) -> LoadRequest {
    let (blueprint, run) = (BlueprintId::new(name).unwrap(), TrainingRunId::new("run").unwrap());
    LoadRequest::new(blueprint, Purpose::Seed(SeedId::new("seed").unwrap()), run, UnixTime::default())
}

impl Office {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap()
    }

    /// Changes the state and hands out the jobs. A blueprint that is worked on is not handed out again.
    fn act<R>(&self, change: impl FnOnce(&mut Loads<u32>) -> R) -> R {
        let (result, effects) = self.desk.change(change);
        effects.jobs.into_iter().for_each(|job| self.jobs.send(job).unwrap());
        result
    }

    /// The request's id, unless the kernel is cached or the request refused.
    fn ask(&self, name: &str) -> Option<RequestId> {
        match self.act(|loads| loads.ask(request(name), Monotonic::ORIGIN)).ok()? {
            Asked::Cached(_) => None,
            Asked::Pending(id) => {
                assert!(self.book().pending.insert(id), "the id is new");
                Some(id)
            }
        }
    }

    fn asks(&self, name: &str) {
        self.ask(name);
    }

    /// One thread's work on one job.
    fn work(&self, job: &Job) {
        assert!(self.book().at_work.insert(job.blueprint.clone()), "two threads load {}", job.blueprint);
        self.act(|loads| loads.fetched(&job.blueprint, 10));
        let artifact = {
            let mut book = self.book();
            book.done += 1;
            assert!(book.at_work.remove(&job.blueprint));
            Arc::new(book.done)
        };
        self.act(|loads| loads.finish(&job.blueprint, Outcome::Ready { artifact, bytes: 20 }));
    }

    fn cancel(&self, id: RequestId) {
        if self.act(|loads| loads.cancel(id)) {
            assert!(self.book().cancelled.insert(id));
        }
    }

    fn poll(&self, now: Monotonic) {
        for arrival in self.act(|loads| loads.poll(now)) {
            assert!(self.book().arrived.insert(arrival.request), "it arrives once");
        }
    }

    /// Everybody who was told to wait got exactly one end, and nothing is left over.
    fn assert_all_ended(&self, jobs: &Receiver<Job>) {
        while let Ok(job) = jobs.try_recv() {
            self.work(&job);
        }
        self.poll(Monotonic::ORIGIN.after(Duration::from_secs(1)));
        let book = self.book();
        let ended: BTreeSet<_> = book.arrived.union(&book.cancelled).copied().collect();
        assert_eq!(ended, book.pending);
        assert!(book.arrived.is_disjoint(&book.cancelled), "a cancelled request does not arrive");
        let stats = self.desk.look(|loads| loads.stats());
        assert_eq!((stats.outstanding, stats.queued, stats.running, stats.awaiting), (0, 0, 0, 0));
        assert_eq!(stats.in_flight_bytes, 0);
    }
}

#[test]
fn a_blueprint_that_many_threads_ask_for_is_loaded_once() {
    let run = || {
        let (office, jobs) = office();
        let askers: Vec<_> = (0..4)
            .map(|_| {
                let office = office.clone();
                thread::spawn(move || office.asks("bp"))
            })
            .collect();
        let worker = {
            let office = office.clone();
            thread::spawn(move || {
                office.work(&jobs.recv().unwrap());
                jobs
            })
        };
        office.poll(Monotonic::ORIGIN);
        askers.into_iter().for_each(|asker| asker.join().unwrap());
        let jobs = worker.join().unwrap();
        office.assert_all_ended(&jobs);
        assert_eq!((office.book().done, office.desk.look(|loads| loads.stats().total.loads)), (1, 1));
    };
    shuttle::check_random(run, SCHEDULES);
    shuttle::check_pct(run, SCHEDULES, DEPTH);
}

#[test]
fn requests_end_once_amid_cancels_deadlines_and_purges() {
    let run = || {
        let (office, jobs) = office();
        let mut threads = Vec::new();
        for name in ["a", "b", "a"] {
            let office = office.clone();
            threads.push(thread::spawn(move || {
                let asked = office.ask(name);
                let _ = office.ask(name);
                asked.into_iter().for_each(|id| office.cancel(id));
                office.ask(name);
            }));
        }
        let worker = {
            let office = office.clone();
            thread::spawn(move || {
                for _ in 0..3 {
                    jobs.try_recv().iter().for_each(|job| office.work(job));
                    thread::yield_now();
                }
                jobs
            })
        };
        let purger = office.clone();
        threads.push(thread::spawn(move || {
            purger.act(|loads| loads.purge());
        }));
        for millis in [0, 10, 20] {
            office.poll(Monotonic::from_millis(millis));
        }
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        let jobs = worker.join().unwrap();
        office.assert_all_ended(&jobs);
    };
    shuttle::check_random(run, SCHEDULES);
    shuttle::check_pct(run, SCHEDULES, DEPTH);
}

#[test]
fn a_close_amid_loads_leaves_nothing_behind() {
    let run = || {
        let (office, jobs) = office();
        let askers: Vec<_> = ["a", "b", "a"]
            .into_iter()
            .map(|name| {
                let office = office.clone();
                thread::spawn(move || office.asks(name))
            })
            .collect();
        let worker = {
            let office = office.clone();
            thread::spawn(move || {
                jobs.try_recv().iter().for_each(|job| office.work(job));
                jobs
            })
        };
        office.act(|loads| loads.close());
        askers.into_iter().for_each(|asker| asker.join().unwrap());
        let jobs = worker.join().unwrap();
        while let Ok(job) = jobs.try_recv() {
            office.work(&job);
        }
        assert!(office.act(|loads| loads.poll(Monotonic::from_millis(100))).is_empty());
        assert!(office.ask("c").is_none(), "it is closed");
        let stats = office.desk.look(|loads| loads.stats());
        assert_eq!((stats.outstanding, stats.running, stats.in_flight_bytes, stats.cache.entries), (0, 0, 0, 0));
    };
    shuttle::check_random(run, SCHEDULES);
    shuttle::check_pct(run, SCHEDULES, DEPTH);
}

#[test]
fn an_answer_that_comes_twice_amid_a_cancel_is_taken_once() {
    let run = || {
        let (office, jobs) = office_over(true);
        let first = office.ask("bp").unwrap();
        let answerers: Vec<_> = (0..2)
            .map(|_| {
                let office = office.clone();
                thread::spawn(move || office.act(|loads| loads.answer(0, |_| Step::Fetch)) == Answered::Taken)
            })
            .collect();
        let others = [
            {
                let office = office.clone();
                thread::spawn(move || office.asks("bp"))
            },
            {
                let office = office.clone();
                thread::spawn(move || office.cancel(first))
            },
        ];
        jobs.try_recv().iter().for_each(|job| office.work(job));
        office.poll(Monotonic::ORIGIN);
        others.into_iter().for_each(|other| other.join().unwrap());
        let taken = answerers.into_iter().map(|answerer| u32::from(answerer.join().unwrap())).sum::<u32>();
        office.assert_all_ended(&jobs);
        assert!(taken <= 1, "taken {taken} times");
        assert_eq!(office.book().done, taken);
    };
    shuttle::check_random(run, SCHEDULES);
    shuttle::check_pct(run, SCHEDULES, DEPTH);
}
