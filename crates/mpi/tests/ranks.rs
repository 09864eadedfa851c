//! What `mpirun -n N` starts for `cargo xtask mpi`: every operation, checked by each rank. With `panic` or
//! `wait` as argument, a rank that fails or waits to be killed.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test, and its report")]

use std::time::Duration;

use faculty_comm::{Comm as _, Group};
use faculty_mpi::World;

fn main() {
    let world = World::start().unwrap();
    world.abort_on_panic();
    let rank = world.rank();
    let (own, size) = (rank.rank(), rank.size());
    match std::env::args().nth(1).as_deref() {
        Some("panic") => {
            assert!(own != size - 1, "out of luck");
            rank.barrier().unwrap();
        }
        Some("fail") if own == size - 1 => world.end_all("error: no such file", 2),
        Some("fail") => rank.barrier().unwrap(),
        Some("wait") => {
            println!("rank {own} is process {}", std::process::id());
            std::thread::sleep(Duration::from_secs(600));
        }
        _ => {
            operations(&rank);
            let group = Group::new(rank);
            let text = (own > 0).then(|| format!("of {own}"));
            let first = group.first_text(text.as_deref()).unwrap();
            assert_eq!(first, (size > 1).then(|| "of 1".to_owned()));
            if group.is_first() {
                println!("{size} ranks: all operations as they should be");
            }
        }
    }
}

fn operations(rank: &impl faculty_comm::Comm) {
    let (own, size) = (rank.rank(), rank.size());
    let sum = |of: &dyn Fn(usize) -> f64| (0..size).map(of).sum::<f64>();
    for length in [0, 1, 1000, 300_000] {
        let mut small: Vec<f32> = (0..length).map(|i| (own * 7 + i % 5) as f32).collect();
        rank.sum_f32(&mut small).unwrap();
        let mut wide: Vec<f64> = (0..length).map(|i| (own * 7 + i % 5) as f64).collect();
        rank.sum_f64(&mut wide).unwrap();
        for i in 0..length {
            let want = sum(&|rank| (rank * 7 + i % 5) as f64);
            assert_eq!((f64::from(small[i]), wide[i]), (want, want));
        }
    }
    // The same bytes every time, and on all ranks.
    let awkward = || -> Vec<f32> {
        let value = |i: usize| ((own * 31 + i * 17) % 101) as f32 * 1e-3 - 1e7 / (1.0 + i as f32);
        let mut values: Vec<f32> = (0..5000).map(value).collect();
        rank.sum_f32(&mut values).unwrap();
        values
    };
    let first = awkward();
    for _ in 0..10 {
        assert_eq!(awkward(), first);
    }
    let mut bytes: Vec<u8> = first.iter().flat_map(|value| value.to_le_bytes()).collect();
    let mine = bytes.clone();
    rank.broadcast(0, &mut bytes).unwrap();
    assert_eq!(bytes, mine);

    assert_eq!(rank.max(own as u64).unwrap(), size as u64 - 1);
    let rows = rank.gather(&vec![own as f32; own]).unwrap();
    let want: Vec<f32> = (0..size).flat_map(|rank| vec![rank as f32; rank]).collect();
    assert_eq!(rows, want);
    let root = size - 1;
    let mut bytes = vec![own as u8; own + 1];
    rank.broadcast(root, &mut bytes).unwrap();
    assert_eq!(bytes, vec![root as u8; root + 1]);
    rank.barrier().unwrap();
}
