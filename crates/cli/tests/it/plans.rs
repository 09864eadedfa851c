//! `faculty distill` of recipes with `[plan]`.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::project::{self, Project, TEACHERS, recipe};

const BORN_AGAIN: &str = "[plan]\nkind = \"born-again\"\ngenerations = 2\n";
const MUTUAL: &str = "[plan]\nkind = \"mutual\"\nnetworks = [\"resnet8\"]\n";

#[test]
fn born_again_generations_resume_and_json() {
    let project = Project::new();
    project.write("plan.toml", recipe("kd", BORN_AGAIN));
    let ran = project.run(&["distill", "plan.toml"]).expect(0);
    for part in ["1-resnet8x0.5", "2-resnet8x0.5", "all 2 together: test top-1", "best validation"]
    {
        assert!(ran.stdout.contains(part), "no `{part}` in:\n{}", ran.stdout);
    }
    assert!(ran.stderr.contains("objective: CE\n"), "{}", ran.stderr);
    assert!(ran.stderr.contains("teacher: 1-resnet8x0.5 (resnet8x0.5), alone"), "{}", ran.stderr);
    let ran = project.run(&["distill", "plan.toml"]).expect(2);
    assert!(ran.stderr.contains("already holds a run"), "{}", ran.stderr);
    let ran = project.run(&["distill", "plan.toml", "--resume", "--json"]).expect(0);
    let events: Vec<serde_json::Value> =
        ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names: Vec<&str> = events.iter().map(|own| own["event"].as_str().unwrap()).collect();
    assert_eq!(names, ["start", "kept", "kept", "result"]);
    assert_eq!(events[0]["plan"], "born-again");
    assert_eq!(events[3]["plan"]["students"].as_array().unwrap().len(), 2);
    assert!(project.run(&["evaluate", "runs/plan"]).expect(0).stdout.contains("top-1"));
    // Another number of generations is another plan.
    let more = ["distill", "plan.toml", "--resume", "--set", "plan.generations=3"];
    let ran = project.run(&more).expect(2);
    assert!(ran.stderr.contains("`plan.generations` (then 2, now 3)"), "{}", ran.stderr);
    project.run(&[&more[..2], &["--overwrite"], &more[3..]].concat()).expect(0);
    assert!(project.path("runs/plan/stages/3-resnet8x0.5/card.json").exists());
}

#[test]
fn assistants_from_two_teachers() {
    let project = Project::new();
    project.train("a", &["train.epochs=2"]);
    project.train("b", &["train.epochs=1", "seed=9"]);
    let plan = "[plan]\nkind = \"assistants\"\nnetworks = [\"resnet14\", \"resnet8\"]\n";
    project.write("plan.toml", recipe("ca-mkd", &format!("{TEACHERS}{plan}")));
    let ran = project.run(&["distill", "plan.toml", "--json"]).expect(0);
    let result = ran.json();
    assert_eq!(result["card"]["teachers"][0]["name"], "2-resnet8");
    assert!(result["plan"]["ensemble"].is_null());
    // A comparison has one student a method.
    let compare = ["compare", "plan.toml", "--methods", "aver"];
    let ran = project.run(&compare).expect(2);
    assert!(ran.stderr.contains("`[plan]` (`assistants`) trains several students"));
    assert!(ran.stderr.contains("hint: use `faculty distill`"), "{}", ran.stderr);
}

#[test]
fn mutual_learning_and_plain_training_of_the_same_recipe() {
    let project = Project::new();
    project.write("plan.toml", recipe("ce", MUTUAL));
    let ran = project.run(&["distill", "plan.toml"]).expect(0);
    assert!(ran.stderr.contains("objective: CE + KL(peer ‖ own)"), "{}", ran.stderr);
    assert!(ran.stderr.contains("1-resnet8: epoch 2/2"), "{}", ran.stderr);
    assert!(ran.stderr.contains("student: epoch 2/2"), "{}", ran.stderr);
    assert!(project.path("runs/plan/peers/1-resnet8.safetensors").exists());
    // Plain training is that of the student alone.
    project.run(&["train", "plan.toml", "--output", "alone"]).expect(0);
    project.run(&["train", "recipe.toml", "--output", "plain"]).expect(0);
    let student =
        |name: &str| std::fs::read(project.path(name).join("student.safetensors")).unwrap();
    assert!(student("alone") == student("plain") && student("alone") != student("runs/plan"));
    // A plan of a method that reads teachers, trained on labels.
    project.write("again.toml", recipe("kd", BORN_AGAIN));
    project.run(&["train", "again.toml", "--output", "labels"]).expect(0);
    assert!(student("labels") == student("plain"));
}

#[test]
fn bad_plans_are_refused_before_anything_is_written() {
    let project = Project::new();
    let before = |project: &Project| project.files().len();
    for (method, plan, parts) in [
        ("ce", BORN_AGAIN, &["`ce` does not learn from teachers", "hint: choose another"][..]),
        ("kd", MUTUAL, &["not by method `kd`", "hint: set `method.name = \"ce\"`"]),
        ("kd", "[plan]\nkind = \"assistants\"\n", &["needs at least 1 teacher", "`plan.networks`"]),
        ("ce", "[plan]\nkind = \"dml\"\n", &["`plan.kind` is `dml`", "hint: give one of"]),
        (
            "ce",
            "[plan]\nkind = \"mutual\"\nnetworks = [\"resnet9\"]\n",
            &["resnet9", "did you mean"],
        ),
    ] {
        project.write("plan.toml", recipe(method, plan));
        let files = before(&project);
        let ran = project.run(&["distill", "plan.toml"]).expect(2);
        for part in parts {
            assert!(ran.stderr.contains(part), "no `{part}` in:\n{}", ran.stderr);
        }
        assert_eq!(before(&project), files, "{plan}");
    }
}

#[cfg(unix)]
#[test]
fn ctrl_c_in_a_later_student_ends_it_with_130_and_resume_goes_on() {
    if crate::project::ignores_interrupts(
        "ctrl_c_in_a_later_student_ends_it_with_130_and_resume_goes_on",
    ) {
        return;
    }
    let project = Project::new();
    project.write("plan.toml", recipe("kd", BORN_AGAIN));
    let args = ["distill", "plan.toml", "--set", "train.epochs=40"];
    let child = Command::new(env!("CARGO_BIN_EXE_faculty"))
        .args(args)
        .current_dir(project.path("."))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let second = "runs/plan/stages/2-resnet8x0.5/checkpoints/last.safetensors";
    let started = Instant::now();
    while !project.path(second).exists() && started.elapsed() < Duration::from_secs(300) {
        std::thread::sleep(Duration::from_millis(5));
    }
    project::signal(&child, "-INT");
    let output = child.wait_with_output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{message}");
    assert!(message.contains("student `2-resnet8x0.5` of the plan: stopped in epoch"), "{message}");
    assert!(message.contains("resume with `--resume`"), "{message}");
    let ran = project.run(&[&args[..], &["--resume"]].concat()).expect(0);
    assert!(ran.stderr.contains("1-resnet8x0.5: finished already and kept"), "{}", ran.stderr);
    assert!(ran.stderr.contains("2-resnet8x0.5: resumes with epoch"), "{}", ran.stderr);
    project.run(&[&args[..], &["--output", "calm"]].concat()).expect(0);
    let student =
        |name: &str| std::fs::read(project.path(name).join("student.safetensors")).unwrap();
    assert!(student("runs/plan") == student("calm"), "students differ");
}
