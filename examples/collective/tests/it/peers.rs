//! Workers without a server in between, all in one process.

use std::{net::TcpListener, time::Duration};

use burn::backend::Flex;
use kasmina_reduce::{
    Linked, Part, Reduce, ReduceError,
    conformance::{
        Order, PATIENCE, each, gives_up_for_all, keeps_its_promises, numbers, refuses_what_does_not_go_together, tensor,
    },
};
use kasmina_reduce_collective::Peers;

/// Hosts whose ports are free.
pub fn hosts(workers: usize) -> Vec<String> {
    let listen = |_| TcpListener::bind("127.0.0.1:0").unwrap();
    let listeners: Vec<_> = (0..workers).map(listen).collect();
    listeners.iter().map(|listener| listener.local_addr().unwrap().to_string()).collect()
}

fn join(hosts: &[String], rank: usize, group: u32, timeout: Duration) -> Linked<Peers<Flex>> {
    Linked::new(Peers::join(hosts.to_vec(), rank, group, timeout).unwrap())
}

fn group(workers: usize, timeout: Duration) -> Vec<Linked<Peers<Flex>>> {
    let hosts = hosts(workers);
    (0..workers).map(|rank| join(&hosts, rank, 0, timeout)).collect()
}

#[test]
fn promises_are_kept() {
    keeps_its_promises::<Flex, _>(Order::ByRank, |workers| group(workers, PATIENCE));
    refuses_what_does_not_go_together::<Flex, _>(|workers| group(workers, PATIENCE));
    let hosts = hosts(2);
    gives_up_for_all::<Flex, _>(vec![join(&hosts, 0, 0, Duration::from_millis(1)), join(&hosts, 1, 0, PATIENCE)]);
}

#[test]
fn hundred_exchanges_of_workers_that_run_ahead_do_not_mix() {
    let sums = each(group(3, PATIENCE), |mut worker| {
        let rank = Reduce::<Flex>::place(&worker).rank as u64;
        (0..100_u64).all(|round| {
            let all = Reduce::<Flex>::gather(&mut worker, (round * 3 + rank).to_le_bytes().to_vec()).unwrap();
            all.iter().zip(0..).all(|(bytes, rank)| *bytes == (round * 3 + rank).to_le_bytes())
        })
    });
    assert_eq!(sums, [true; 3]);
}

#[test]
fn exchange_after_one_that_was_given_up_is_a_new_one() {
    let hosts = hosts(2);
    let (mut one, late) = (join(&hosts, 0, 0, Duration::from_millis(50)), join(&hosts, 1, 0, PATIENCE));
    for _ in 0..3 {
        let timed_out = Reduce::<Flex>::gather(&mut one, vec![1]).unwrap_err();
        assert_eq!(timed_out.reason(), "workers_missing");
    }
    let mut late = late;
    for _ in 0..3 {
        assert_eq!(Reduce::<Flex>::gather(&mut late, vec![2]), Err(ReduceError::GivenUp));
    }
    // The next group meets at the same hosts.
    drop((one, late));
    let next = (0..2).map(|rank| join(&hosts, rank, 1, PATIENCE)).collect();
    let means = each(next, |mut worker| {
        let rank = Reduce::<Flex>::place(&worker).rank as f32;
        numbers::<Flex>(worker.reduce(&Part::Host, tensor(&[rank])).unwrap())
    });
    assert_eq!(means, [[0.5]; 2]);
}

#[test]
fn place_that_cannot_be_taken_is_refused() {
    let one = hosts(1);
    let refused = |hosts: &[&str], rank| {
        let hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
        Peers::<Flex>::join(hosts, rank, 0, Duration::from_millis(1)).unwrap_err()
    };
    assert_eq!(refused(&[&one[0]], 1).to_string(), "the link failed: rank 1 of 1 workers");
    assert_eq!(refused(&["localhost"], 0).to_string(), "the link failed: localhost is not a host with a port");
    assert_eq!(refused(&[], 0).reason(), "link_failed");
    let _taken = TcpListener::bind(&one[0]).unwrap();
    assert!(refused(&[&one[0]], 0).to_string().contains("port is taken"));
}
