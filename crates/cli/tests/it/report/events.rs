//! TensorBoard events, read back by a reader of the test's own and by TensorBoard's.

use std::process::Command;

use super::distilled;

const NAME: &str = "run/events.out.tfevents.faculty";

/// CRC-32C by its table, unlike the writer's.
fn crc32c(bytes: &[u8]) -> u32 {
    let table: Vec<u32> = (0..256_u32)
        .map(|start| {
            let mut crc = start;
            for _ in 0..8 {
                crc = if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
            }
            crc
        })
        .collect();
    !bytes.iter().fold(!0, |crc, &byte| table[((crc ^ u32::from(byte)) & 255) as usize] ^ crc >> 8)
}

/// The events of a file, checksums checked.
fn events(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut rest = bytes;
    let mut all = Vec::new();
    while !rest.is_empty() {
        let number = |at: usize| u32::from_le_bytes(rest[at..at + 4].try_into().unwrap());
        let length = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
        let masked = |bytes: &[u8]| crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8);
        let event = &rest[12..12 + length];
        assert_eq!(number(8), masked(&rest[..8]));
        assert_eq!(number(12 + length), masked(event));
        all.push(event.to_vec());
        rest = &rest[16 + length..];
    }
    all
}

/// The fields of a message: number and content, a varint as its bytes.
fn fields(mut message: &[u8]) -> Vec<(u64, Vec<u8>)> {
    fn varint(message: &mut &[u8]) -> u64 {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = message[0];
            *message = &message[1..];
            value |= u64::from(byte & 127) << shift;
            if byte < 128 {
                break;
            }
        }
        value
    }
    let mut all = Vec::new();
    while !message.is_empty() {
        let key = varint(&mut message);
        let length = match key & 7 {
            0 => {
                all.push((key >> 3, varint(&mut message).to_le_bytes().to_vec()));
                continue;
            }
            1 => 8,
            2 => varint(&mut message) as usize,
            5 => 4,
            wire => panic!("wire type {wire}"),
        };
        all.push((key >> 3, message[..length].to_vec()));
        message = &message[length..];
    }
    all
}

/// Step, tag and value of every scalar.
fn scalars(bytes: &[u8]) -> Vec<(u64, String, f32)> {
    let mut all = Vec::new();
    for event in events(bytes) {
        let own = fields(&event);
        let Some((_, step)) = own.iter().find(|(number, _)| *number == 2) else { continue };
        let step = u64::from_le_bytes(step[..8].try_into().unwrap());
        for (_, summary) in own.iter().filter(|(number, _)| *number == 5) {
            for (_, value) in fields(summary) {
                let value = fields(&value);
                let tag = String::from_utf8(value[0].1.clone()).unwrap();
                let number = f32::from_le_bytes(value[1].1[..4].try_into().unwrap());
                all.push((step, tag, number));
            }
        }
    }
    all
}

#[test]
fn events_hold_the_numbers_of_the_metrics_also_after_an_interruption() {
    let project = distilled();
    let check = |epochs: u64| {
        let all = scalars(&std::fs::read(project.path(NAME)).unwrap());
        let text = std::fs::read_to_string(project.path("run/metrics.jsonl")).unwrap();
        for (line, epoch) in text.lines().zip(1..) {
            let record: serde_json::Value = serde_json::from_str(line).unwrap();
            for (tag, expected) in [
                ("loss/total", &record["loss"]),
                ("accuracy/validation", &record["validation"]["top1"]),
                ("share/kd", &record["terms"]["kd"]["share"]),
                ("teacher_weight_kd/a", &record["teacher_weights"]["kd"]["a"]),
            ] {
                let found: Vec<f32> = all
                    .iter()
                    .filter(|own| own.0 == epoch && own.1 == tag)
                    .map(|own| own.2)
                    .collect();
                assert_eq!(found, [expected.as_f64().unwrap() as f32], "{tag} of epoch {epoch}");
            }
        }
        assert_eq!(all.iter().map(|own| own.0).max(), Some(epochs));
    };
    check(2);
    // A run that goes on writes the file anew from its metrics.
    project.write(NAME, "cut short");
    project.run(&["distill", "distill.toml", "--output", "run", "--resume"]).expect(0);
    check(2);
}

#[test]
fn events_of_steps_stand_beside_those_of_epochs_and_survive_an_interruption() {
    let project = crate::project::Project::new();
    let run = |more: &[&str]| {
        let arguments = ["train", "recipe.toml", "--output", "run", "--events-every", "3"];
        project.run(&[&arguments[..], more].concat()).expect(0);
        let all = scalars(&std::fs::read(project.path(NAME)).unwrap());
        let of = |tag: &str| {
            all.iter().filter(|own| own.1 == tag).map(|own| (own.0, own.2)).collect::<Vec<_>>()
        };
        (of("step/loss"), of("step/epochs"), of("loss/total"))
    };
    let (losses, epochs, totals) = run(&[]);
    // Steps of an epoch follow from how far the run was at the third.
    assert_eq!(epochs[0].0, 3);
    let batches = (3.0 / epochs[0].1).round() as u64;
    assert!((4..=8).contains(&batches), "of about 216 samples in batches of 32: {batches}");
    let due = |epochs: u64| (1..=epochs * batches).filter(|step| step % 3 == 0).collect::<Vec<_>>();
    let steps = |own: &[(u64, f32)]| own.iter().map(|own| own.0).collect::<Vec<u64>>();
    assert_eq!(steps(&losses), due(2));
    assert_eq!(totals.len(), 2);
    for ((step, epochs), (_, loss)) in epochs.iter().zip(&losses) {
        let expected = *step as f64 / batches as f64;
        assert!((f64::from(*epochs) - expected).abs() < 1e-6, "{step}: {epochs}");
        assert!(loss.is_finite() && *loss > 0.0, "{loss}");
    }
    // Those of a third epoch come to them; those before stay.
    let longer = run(&["--resume-with", "train.epochs=3", "--resume"]);
    assert_eq!(steps(&longer.0), due(3));
    assert_eq!(longer.0[..losses.len()], losses[..], "unchanged");
    assert_eq!(longer.2.len(), 3);
}

#[test]
fn tensorboard_itself_reads_the_events() {
    let python = |code: &str| Command::new("python3").args(["-c", code]).output();
    let there = python("import tensorboard").is_ok_and(|output| output.status.success());
    if !there {
        eprintln!("skipped: python3 has no `tensorboard`");
        return;
    }
    let project = distilled();
    let code = format!(
        "from tensorboard.backend.event_processing.event_accumulator import EventAccumulator\n\
         e = EventAccumulator({:?}); e.Reload()\n\
         t = e.Tags(); print(len(e.Scalars('loss/total')), 'accuracy/validation' in t['scalars'])\n\
         print([s.step for s in e.Scalars('teacher_weight_intermediate/b')])",
        project.path("run").display().to_string()
    );
    let output = python(&code).unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    // The feature-map term begins after the first epoch.
    assert_eq!(said, "2 True\n[2]\n", "{errors}");
}
