use super::*;
use crate::Group;

/// Longer than any machine is busy.
const LONG: Duration = Duration::from_secs(600);

fn run<T: Send>(size: usize, work: impl Fn(Threads) -> Result<T> + Sync) -> Vec<T> {
    let all = Threads::run(size, LONG, work).into_iter();
    all.map(|own| own.unwrap_or_else(|failed| panic!("{failed}"))).collect()
}

#[test]
fn sums_are_added_in_the_order_of_the_ranks_and_equal_on_all() {
    // Of three such numbers each order of additions has another result.
    let own = [1e8_f32, -1e8, 1.25];
    let expected = (own[0] + own[1]) + own[2];
    assert_ne!(expected, own[0] + (own[1] + own[2]));
    for _ in 0..50 {
        let sums = run(3, |rank| {
            let mut values = [own[rank.rank()], 1.0];
            rank.sum_f32(&mut values)?;
            let mut wide = [f64::from(own[rank.rank()])];
            rank.sum_f64(&mut wide)?;
            Ok((values, wide))
        });
        assert!(sums.iter().all(|sum| *sum == ([expected, 3.0], [1.25])), "{sums:?}");
    }
}

#[test]
fn many_operations_in_a_row_do_not_mix() {
    for size in [1, 2, 5] {
        run(size, |rank| {
            for round in 0..200_u64 {
                let own = rank.rank() as u64;
                assert_eq!(rank.max(round * 10 + own)?, round * 10 + size as u64 - 1);
                let mut sum = [round as f64];
                rank.sum_f64(&mut sum)?;
                assert_eq!(sum, [(round * size as u64) as f64]);
                let root = round as usize % size;
                let mut bytes = vec![own as u8; rank.rank()];
                rank.broadcast(root, &mut bytes)?;
                assert_eq!(bytes, vec![root as u8; root]);
                rank.barrier()?;
            }
            Ok(())
        });
    }
}

#[test]
fn rows_come_in_the_order_of_the_ranks_however_many_each_has() {
    let rows = run(4, |rank| rank.gather(&vec![rank.rank() as f32; rank.rank()]));
    assert!(rows.iter().all(|own| *own == [1.0, 2.0, 2.0, 3.0, 3.0, 3.0]), "{rows:?}");
}

#[test]
fn a_rank_that_panics_or_fails_ends_all_others_with_its_number() {
    for panics in [true, false] {
        let ended = Threads::run(3, LONG, |rank| {
            if rank.rank() == 1 {
                assert!(!panics, "out of luck");
                return Err("out of luck".to_owned());
            }
            // Two operations: the first one may be the one that it breaks.
            rank.barrier().map_err(|error| error.to_string())?;
            rank.barrier().map_err(|error| error.to_string())
        });
        for (rank, own) in ended.into_iter().enumerate().filter(|(rank, _)| *rank != 1) {
            let error = own.unwrap_err().to_string();
            assert!(error.starts_with("rank 1 of 3 ended: "), "rank {rank}: {error}");
            assert!(error.ends_with("out of luck"), "rank {rank}: {error}");
        }
    }
}

#[test]
fn a_rank_that_is_done_early_does_not_hang_the_others() {
    let ended =
        Threads::run(2, LONG, |rank| if rank.rank() == 0 { Ok(()) } else { rank.barrier() });
    assert!(ended[0].is_ok());
    let error = CommError::RankLeft { rank: 0, size: 2 };
    assert!(matches!(&ended[1], Err(Failed::Error(own)) if *own == error), "{:?}", ended[1]);
}

#[test]
fn a_rank_that_does_not_come_is_named_when_the_time_is_up() {
    let (send, wait) = std::sync::mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let limit = Duration::from_millis(50);
    let ended = Threads::run(3, limit, |rank| match rank.rank() {
        // Comes only after the others have given up.
        2 => {
            let _ = wait.lock().unwrap().recv();
            rank.barrier()
        }
        own => {
            let result = rank.barrier();
            if own == 0 {
                send.send(()).unwrap();
            }
            result
        }
    });
    for own in ended {
        let Err(Failed::Error(error)) = own else { panic!("{own:?}") };
        let text = error.to_string();
        // On a busy machine the second one may be late too.
        assert!(text.contains("2 of 3 did not come within 0.05 s"), "{text}");
    }
}

#[test]
fn ranks_that_do_different_things_are_told_so() {
    let ended = Threads::run(2, LONG, |rank| {
        let mut values = vec![0.0; 2 + rank.rank()];
        rank.sum_f32(&mut values)
    });
    for own in ended {
        let text = own.unwrap_err().to_string();
        let want = "rank 1 of 2 sums 3 values of f32, while rank 0 sums 2 values of f32";
        assert_eq!(text, want);
    }
}

#[test]
fn the_first_error_of_a_group_stays() {
    let ended = Threads::run(2, LONG, |rank| {
        let group = Group::new(rank);
        if group.rank() == 1 {
            return Err("gone".to_owned());
        }
        let mut values = [5.0];
        group.sum(&mut values);
        group.sum(&mut values);
        assert_eq!(values, [5.0]);
        let first = group.check().unwrap_err();
        assert_eq!(group.max(1).unwrap_err(), first);
        Ok(first.to_string())
    });
    assert_eq!(ended[0].as_ref().unwrap(), "rank 1 of 2 ended: gone");
}

#[test]
fn the_first_text_is_that_of_the_lowest_rank() {
    let texts = run(4, |rank| {
        let group = Group::new(rank);
        let own = (group.rank() % 2 == 1).then(|| format!("of {}", group.rank()));
        Ok([group.first_text(own.as_deref())?, group.first_text(None)?])
    });
    assert!(texts.iter().all(|own| *own == [Some("of 1".to_owned()), None]), "{texts:?}");
}

#[test]
fn the_time_of_a_network_is_that_of_its_messages_and_bytes() {
    let network = Network { latency: Duration::from_micros(10), bytes_per_second: 1e9 };
    // Six messages, and one and a half times the bytes.
    let time = network.time(1_000_000, 4).as_secs_f64();
    assert!((time - (60e-6 + 1.5e-3)).abs() < 1e-9, "{time}");
    // Few bytes go in two exchanges.
    let time = network.time(8, 4).as_secs_f64();
    assert!((time - 2.0 * (10e-6 + 8e-9)).abs() < 1e-9, "{time}");
    assert_eq!(network.time(1_000_000, 1), Duration::ZERO);
}
