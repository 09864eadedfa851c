//! The story of docs/guide-photos.md on a few JPEG files: a MobileNetV3 learns from a ResNet-18 and an
//! ONNX network.

use image::RgbImage;
use serde_json::Value;

use crate::project::Project;

const CLASSES: [&str; 3] = ["apple", "leaf", "sky"];

/// Noisy pictures of one hue each, of several sizes, as JPEG files in folders.
fn photos(project: &Project) {
    for (split, count) in [("train", 10), ("test", 4)] {
        for (label, class) in CLASSES.iter().enumerate() {
            let folder = project.path(&format!("photos/{split}/{class}"));
            std::fs::create_dir_all(&folder).unwrap();
            for number in 0..count {
                let (width, height) = (70 + number, 60 + 2 * number);
                let image = RgbImage::from_fn(width, height, |x, y| {
                    let place = x * 31 + y * 17 + number * 101 + split.len() as u32;
                    let noise = place.wrapping_mul(2_654_435_761);
                    let mut pixel = [noise >> 26, noise >> 25, noise >> 27].map(|n| n as u8 % 90);
                    pixel[label] += 140;
                    image::Rgb(pixel)
                });
                image.save(folder.join(format!("{number:02}.jpg"))).unwrap();
            }
        }
    }
}

fn recipe(network: &str, method: &str, teachers: &str) -> String {
    format!(
        "seed = 1\n[data]\npath = \"photos\"\nresize = [64, 64]\nvalidation = 0.2\n[student]\n\
         network = \"{network}\"\n[method]\nname = \"{method}\"\n[train]\nepochs = 2\n\
         batch_size = 8\nlearning_rate = 0.02\n{teachers}"
    )
}

#[test]
fn a_mobilenet_learns_from_a_resnet_and_an_onnx_network_on_jpeg_files() {
    let project = Project::new();
    photos(&project);
    for (name, network, epochs) in
        [("resnet18", "resnet18_imagenet", 2), ("effnet", "efficientnet_b0", 12)]
    {
        project.write(&format!("{name}.toml"), recipe(network, "ce", ""));
        // Running statistics are near those of the pictures after some dozens of steps, and without a
        // validation part the last epoch is the one that is kept.
        let epochs = format!("train.epochs={epochs}");
        let more = ["--output", name, "--set", &epochs, "--set", "data.validation=0"];
        project.run(&[&["train", &format!("{name}.toml")], &more[..]].concat()).expect(0);
    }
    let ran = project.run(&["export", "effnet", "--onnx", "effnet.onnx", "--json"]).expect(0);
    assert!(ran.json()["onnx"]["parity"]["relative"].as_f64().unwrap() < 1e-4);

    // After two epochs a teacher may be weak; that is not what this is about.
    let teachers = "[[teachers]]\nname = \"resnet\"\nweights = \"resnet18/student.safetensors\"\n\
                    network = \"resnet18_imagenet\"\nallow_weak = true\n\
                    [[teachers]]\nname = \"effnet\"\nonnx = \"effnet.onnx\"\nallow_weak = true\n";
    project.write("student.toml", recipe("mobilenet_v3_small", "ca-mkd", teachers));
    project.run(&["distill", "student.toml", "--output", "student"]).expect(0);

    let evaluated = project.run(&["evaluate", "student", "--json"]).expect(0).json();
    assert!(evaluated["top1"].as_f64().is_some(), "{evaluated}");
    let picture = "photos/test/sky/00.jpg";
    let ran = project.run(&["predict", "student", picture, "--json"]).expect(0);
    let line: Value = serde_json::from_str(ran.stdout.lines().next().unwrap()).unwrap();
    assert!(CLASSES.iter().any(|class| line["classes"][0]["class"] == *class), "{line}");

    // Its weights begin another run, of which a part is frozen, and go into 8 bits.
    let start = "[student]\nnetwork = \"mobilenet_v3_small\"\nweights = \"student\"\n\
                 freeze = [\"features.0\", \"features.1\"]\n";
    let again = recipe("mobilenet_v3_small", "ce", "");
    let again = again.replace("[student]\nnetwork = \"mobilenet_v3_small\"\n", start);
    project.write("again.toml", again);
    project.run(&["train", "again.toml", "--output", "again", "--set", "train.epochs=1"]).expect(0);
    let int8 = ["export", "student", "--onnx", "int8.onnx", "--int8", "--json"];
    let ran = project.run(&[&int8[..], &["--int8-images", "6", "--int8-loss", "100"]].concat());
    let accuracy = ran.expect(0).json()["onnx"]["int8"].clone();
    assert_eq!((&accuracy["calibration_images"], &accuracy["images"]), (&6.into(), &12.into()));
    let bytes = [0, 1].map(|at| accuracy["bytes"][at].as_u64().unwrap());
    assert!(bytes[1] * 3 < bytes[0], "{accuracy}");
    let ran =
        project.run(&["export", "resnet18/student.safetensors", "--onnx", "x.onnx", "--int8"]);
    assert!(ran.code == 0 || ran.stderr.contains("8 bits"), "{}", ran.stderr);
}
