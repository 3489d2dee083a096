//! Workers that are processes of one machine.

use std::{
    env,
    io::{BufRead, BufReader, Read, Write},
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

use burn::backend::Flex;
use kasmina_reduce::{
    Linked, Part, Reduce,
    conformance::{PATIENCE, bits, expected, numbers, tensor, uneven},
};
use kasmina_reduce_collective::Peers;

use crate::peers::hosts;

const WORKERS: usize = 3;
const STEPS: usize = 20;
const RANK: &str = "KASMINA_TEST_RANK";
const HOSTS: &str = "KASMINA_TEST_HOSTS";

/// The place of this process, if it is a child.
fn child(timeout: Duration) -> Option<Linked<Peers<Flex>>> {
    let rank = env::var(RANK).ok()?.parse().unwrap();
    let hosts = env::var(HOSTS).unwrap().split(',').map(str::to_owned).collect();
    Some(Linked::new(Peers::join(hosts, rank, 0, timeout).unwrap()))
}

/// A process that runs this test only.
struct Worker {
    process: Child,
    says: BufReader<ChildStdout>,
}

impl Worker {
    fn start(test: &str, hosts: &[String], rank: usize) -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["--exact", test, "--nocapture"]).env(RANK, rank.to_string()).env(HOSTS, hosts.join(","));
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let says = BufReader::new(process.stdout.take().unwrap());
        Self { process, says }
    }

    /// The rest of the next line that begins so. The library prints lines of its own.
    fn hear(&mut self, begins: &str) -> String {
        let mut line = String::new();
        while self.says.read_line(&mut line).unwrap() > 0 {
            if let Some((_, rest)) = line.split_once(begins) {
                return rest.trim().to_owned();
            }
            line.clear();
        }
        panic!("the worker ended before it said {begins}");
    }

    fn tell_to_go_on(&mut self) {
        self.process.stdin.take().unwrap().write_all(b"go on").unwrap();
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn start(test: &str) -> Vec<Worker> {
    let hosts = hosts(WORKERS);
    (0..WORKERS).map(|rank| Worker::start(test, &hosts, rank)).collect()
}

fn say(what: &str) {
    // A line that another thread has begun may stand before it.
    println!("\n{what}");
    std::io::stdout().flush().unwrap();
}

#[test]
fn processes_get_the_same_bits() {
    if let Some(mut worker) = child(PATIENCE) {
        let rank = Reduce::<Flex>::place(&worker).rank;
        for step in 1..=STEPS {
            let mean = worker.reduce(&Part::Host, tensor::<Flex>(&uneven(rank, step))).unwrap();
            say(&format!("mean {step}: {:?}", bits(&numbers(mean))));
        }
        return;
    }
    let mut workers = start("processes::processes_get_the_same_bits");
    for step in 1..=STEPS {
        let mean = format!("{:?}", bits(&expected(WORKERS, step)));
        for worker in &mut workers {
            assert_eq!(worker.hear(&format!("mean {step}: ")), mean);
        }
    }
}

#[test]
fn worker_that_was_killed_makes_the_others_fail_in_their_time() {
    if let Some(mut worker) = child(Duration::from_secs(3)) {
        // All have begun once one exchange has succeeded.
        assert!((0..20).any(|_| Reduce::<Flex>::gather(&mut worker, vec![1]).is_ok()));
        say("begun");
        std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
        let error = worker.reduce(&Part::Host, tensor::<Flex>(&[1.0])).map(numbers).unwrap_err();
        say(&format!("end: {error}"));
        return;
    }
    let mut workers = start("processes::worker_that_was_killed_makes_the_others_fail_in_their_time");
    for worker in &mut workers {
        worker.hear("begun");
    }
    drop(workers.pop());
    workers.iter_mut().for_each(Worker::tell_to_go_on);
    for worker in &mut workers {
        assert_eq!(worker.hear("end: "), "workers [2] did not come within 3s");
    }
}
