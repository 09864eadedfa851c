//! Maps, constants and first values of published settings, by network.

use burn::Tensor;
use burn::tensor::{Device, TensorData};
use faculty_nets::{MapShape, Network};

use crate::Shapes;
use crate::method::amtml_kd::hint_error;
use crate::{METHODS, Method, build, find, specs};
use faculty_contract::needs_of_run;
use faculty_contract::{Facts, TeacherTraits};
use faculty_recipe::{self as recipe, MethodTerm, Recipe};

const IMAGE: MapShape = MapShape::new(3, 32, 32);

/// What a run tells `method` about a student and its teachers.
fn shapes_of(method: &dyn Method, student: &str, teachers: &[&str]) -> Shapes {
    let network = |name: &str| Network::new(name, IMAGE, 10, 1).unwrap();
    let needs = needs_of_run(method, 3);
    let traits =
        teachers.iter().map(|name| TeacherTraits::of_network(&network(name), &needs.teacher_taps));
    Shapes::of(&network(student), &traits.collect::<Vec<_>>(), 8)
}

/// The student's and the teachers' taps of a run in words, once all networks are known.
fn taps(options: &recipe::Method, student: &str, teachers: &[&str]) -> [String; 2] {
    let mut method = build(options).unwrap();
    let shapes = shapes_of(method.as_ref(), student, teachers);
    method.prepare(Facts::Maps(&shapes));
    // Everything that is built later finds its maps.
    method.prepare(Facts::Shapes(&shapes));
    let _ = method.parts(&shapes);
    let needs = needs_of_run(method.as_ref(), 3);
    let mut own = needs.student_taps.clone();
    own.extend(&needs.projector_taps);
    own.dedup();
    [own, needs.teacher_taps].map(|taps| {
        let names: Vec<String> = taps.iter().map(ToString::to_string).collect();
        names.join(" ")
    })
}

#[test]
fn methods_of_maps_read_those_of_the_published_settings() {
    const THREE: &str = "f1 f2 f3";
    const FOUR: &str = "f1 f2 f3 f4";
    const BEFORE: &str = "f1-before f2-before f3-before";
    let same = [
        ("resnet8", &["resnet14"][..], THREE),
        ("wrn_16_1", &["wrn_16_2"], THREE),
        ("vgg8", &["vgg11"], FOUR),
        ("MobileNetV2", &["vgg11"], FOUR),
        ("MobileNetV2", &["ResNet18"], FOUR),
        ("ShuffleV2", &["resnet8x4"], THREE),
        ("ShuffleV1", &["wrn_16_2"], THREE),
        // As many as all have.
        ("vgg8", &["resnet8x4"], THREE),
        ("resnet8", &["vgg8"], THREE),
        ("vgg8", &["vgg8", "resnet8"], THREE),
    ];
    for (student, teachers, maps) in same {
        for name in ["at", "vid", "semckd"] {
            let options = recipe::Method::with_defaults(&find(name).unwrap().spec);
            let found = taps(&options, student, teachers);
            assert!(found.iter().all(|own| own.starts_with(maps)), "{name}, {student}: {found:?}");
            assert!(found[1] == maps, "{name}, {student} from {teachers:?}: {found:?}");
        }
        let options = recipe::Method::with_defaults(&find("sp").unwrap().spec);
        assert_eq!(taps(&options, student, teachers), ["last", "last"], "sp, {student}");
        let options = recipe::Method::with_defaults(&find("reviewkd").unwrap().spec);
        let before = if maps == THREE { BEFORE.to_owned() } else { format!("{BEFORE} f4-before") };
        let expected = [format!("{maps} pooled"), format!("{before} pooled")];
        assert_eq!(taps(&options, student, teachers), expected, "reviewkd, {student}");
    }
}

#[test]
fn a_term_beside_a_method_takes_all_maps_too() {
    let mut options = recipe::Method::with_defaults(&find("ca-mkd").unwrap().spec);
    options.terms =
        ["vid", "reviewkd"].map(|n| MethodTerm::with_defaults(&find(n).unwrap().spec)).to_vec();
    let [student, teachers] = taps(&options, "vgg8", &["vgg11", "MobileNetV2"]);
    assert!(student.starts_with("f1 f2 f3 f4 "), "{student}");
    assert!(teachers.contains("f4 f1-before f2-before f3-before f4-before map"), "{teachers}");
}

#[test]
fn a_number_of_stages_is_taken_at_its_word() {
    let mut options = recipe::Method::with_defaults(&find("at").unwrap().spec);
    options.options.insert("stages".to_owned(), recipe::OptionValue::Integer(2));
    assert_eq!(taps(&options, "vgg8", &["vgg11"]), ["f1 f2", "f1 f2"]);
    options.options.insert("first_stage".to_owned(), recipe::OptionValue::Integer(3));
    options.options.insert("stages".to_owned(), recipe::OptionValue::Integer(0));
    assert_eq!(taps(&options, "vgg8", &["vgg11"]), ["f3 f4", "f3 f4"]);
}

fn recipe_of(student: &str, method: &str) -> Recipe {
    let text = format!(
        "[data]\npath = \"x\"\n[student]\nnetwork = \"{student}\"\n[[teachers]]\nname = \"t\"\n\
         network = \"resnet8\"\nweights = \"t.pth\"\n[method]\n{method}\n"
    );
    Recipe::from_str(&text, "r.toml", &[], &specs()).unwrap().recipe
}

#[test]
fn constants_are_the_released_ones_of_the_students_network() {
    let betas = [("resnet20", 0.6), ("resnet32", 1.0), ("resnet8x4", 5.0), ("wrn_16_2", 5.0)];
    let others = [("wrn_40_1", 5.0), ("ShuffleV1", 5.0), ("ShuffleV2", 8.0), ("vgg8", 5.0)];
    for (student, beta) in betas.into_iter().chain(others) {
        let recipe = recipe_of(student, "name = \"reviewkd\"");
        assert_eq!(recipe.method.number("beta"), Some(beta), "{student}");
        let own = recipe::Method::for_student(&find("reviewkd").unwrap().spec, student);
        assert_eq!(own, recipe.method, "{student}");
        // What is given stays, and a recipe that is written out reads the same.
        let given = recipe_of(student, "name = \"reviewkd\"\nbeta = 2.5");
        assert_eq!(given.method.number("beta"), Some(2.5));
        let text = given.to_toml().unwrap();
        let again = Recipe::from_str(&text, "again.toml", &[], &specs()).unwrap().recipe;
        assert_eq!(again.method, given.method);
    }
    let term = recipe_of("resnet20", "name = \"kd\"\n[[method.terms]]\nname = \"reviewkd\"");
    assert_eq!(term.method.terms[0].method.number("beta"), Some(0.6));
}

#[test]
fn ca_mkd_as_released_reads_the_map_before_the_last_convolution_of_mobile_net_v2_alone() {
    let official = "name = \"ca-mkd\"\nscale = \"official\"";
    for (student, method, tap, channels) in [
        ("MobileNetV2", official, "last", 160),
        ("MobileNetV2", "name = \"ca-mkd\"", "map", 1280),
        ("ShuffleV2", official, "map", 1024),
        ("wrn_16_1", official, "map", 64),
        ("resnet8", official, "map", 64),
    ] {
        let options = recipe_of(student, method).method;
        assert_eq!(taps(&options, student, &["wrn_16_2"]), [tap, "map"], "{student}, {method}");
        let built = build(&options).unwrap();
        let shapes = shapes_of(built.as_ref(), student, &["wrn_16_2"]);
        let projector = &built.parts(&shapes).projectors[0];
        assert_eq!(projector.graph.input_shape().channels, channels, "{student}, {method}");
    }
}

/// The largest first value of every trained array of a method, by name.
fn largest(name: &str, student: &str, teacher: &str) -> Vec<(String, f32, Vec<usize>)> {
    let mut method = find(name).unwrap().with_defaults();
    let shapes = shapes_of(method.as_ref(), student, &[teacher]);
    method.prepare(Facts::Maps(&shapes));
    let parts = method.parts(&shapes);
    let projectors = parts.projectors.into_iter().map(|own| own.graph);
    let parameters = faculty_nets::Graph::of_parameters(parts.parameters);
    let graphs = projectors.chain([parameters]);
    let all = graphs.flat_map(|graph| {
        let network = Network::from_graph("parts", graph, 1);
        let specs = network.graph().parameters().to_vec();
        let most = |values: &Vec<f32>| values.iter().fold(0.0_f32, |most, v| most.max(v.abs()));
        let largest: Vec<f32> = network.parameters().iter().map(most).collect();
        specs.into_iter().zip(largest).map(|(spec, most)| (spec.name, most, spec.shape))
    });
    all.collect()
}

#[test]
fn trained_parts_start_as_released() {
    let fills = |what: &str, most: f32, bound: f32| {
        assert!(most <= bound && most > 0.97 * bound, "{what}: {most} of {bound}");
    };
    for (name, most, shape) in largest("reviewkd", "resnet8x4", "resnet8x4") {
        let fan_in: usize = shape[1..].iter().product();
        match name.rsplit_once(".weight").map(|(layer, _)| layer) {
            Some(layer) if layer.ends_with("conv1") || layer.ends_with("conv2") => {
                fills(&name, most, (3.0 / fan_in as f32).sqrt());
            }
            Some(layer) if layer.ends_with("attention") => {
                fills(&name, most, 1.0 / (fan_in as f32).sqrt());
            }
            Some(_) => assert_eq!(most, 1.0, "{name}"),
            // Of batch norm 0, of the shares as their weight.
            None => assert!(most <= 1.0 / 512_f32.sqrt(), "{name}: {most}"),
        }
    }
    let parts = largest("amtml-kd", "resnet8x4", "resnet8x4");
    assert_eq!(parts.iter().filter(|(name, ..)| name == "conv.weight").count(), 1);
    for (name, most, _) in parts {
        match name.as_str() {
            "conv.weight" => fills(&name, most, 0.005),
            // The largest of 256 standard normal values.
            _ => assert!((2.0..5.0).contains(&most), "{name}: {most}"),
        }
    }
}

#[test]
fn a_hint_compares_directions_at_every_position_with_the_pooled_vector() {
    let tensor = |values: &[f32], shape: [usize; 4]| -> Tensor<4> {
        Tensor::from_data(TensorData::new(values.to_vec(), shape), &Device::flex())
    };
    // Two channels at two positions, (3, 4) and (0, 2), through R = (channels swapped) · 0.5.
    let student = tensor(&[3.0, 0.0, 4.0, 2.0], [1, 2, 1, 2]);
    let projected = tensor(&[2.0, 1.0, 1.5, 0.0], [1, 2, 1, 2]);
    let pooled = tensor(&[0.0, 7.0], [1, 2, 1, 1]);
    // Directions (0.4, 0.3) and (0.5, 0) against (0, 1).
    let want = (0.4_f32.powi(2) + 0.7_f32.powi(2) + 0.5_f32.powi(2) + 1.0) / 4.0;
    let got = hint_error(student, projected, pooled).into_scalar::<f32>();
    assert!((got - want).abs() < 1e-6, "{got} and {want}");
}

#[test]
fn exceptions_name_networks_and_options_that_there_are_and_are_told() {
    for info in METHODS {
        for option in info.spec.options {
            let help = option.help_with_exceptions();
            for exception in option.exceptions {
                assert!(exception.student.is_none_or(|name| help.contains(name)), "{help}");
                assert!(
                    exception.student.is_none_or(|name| faculty_nets::find(name).is_ok()),
                    "{}: {exception:?}",
                    info.spec.name
                );
                let before = info.spec.options.iter().take_while(|own| own.key != option.key);
                let keys: Vec<&str> = before.map(|own| own.key).collect();
                assert!(
                    exception.option.is_none_or(|(key, _)| keys.contains(&key)),
                    "{}: `{}` reads an option behind it",
                    info.spec.name,
                    option.key
                );
            }
        }
    }
}

/// In MB, what whole programs took on 28×28 images beyond those of `kd` and beyond what is counted
/// elsewhere: the estimate holds it, and is not far above.
#[test]
fn the_memory_of_layers_on_the_tape_is_counted() {
    let grey = MapShape::new(1, 28, 28);
    for (name, student, batch_size, measured) in [
        ("reviewkd", "resnet8x0.5", 128, 197.0),
        ("reviewkd", "resnet8", 128, 299.0),
        ("reviewkd", "resnet20", 64, 220.0),
        ("dpk", "resnet8x0.5", 128, 148.0),
        ("dpk", "resnet8", 128, 68.0),
        ("kd", "resnet8", 128, 0.0),
    ] {
        let options = recipe::Method::with_defaults(&find(name).unwrap().spec);
        let mut method = build(&options).unwrap();
        let network = |name: &str| Network::new(name, grey, 10, 1).unwrap();
        let needs = needs_of_run(method.as_ref(), 3);
        let teacher = TeacherTraits::of_network(&network("resnet14"), &needs.teacher_taps);
        let shapes = Shapes::of(&network(student), &[teacher], batch_size);
        method.prepare(Facts::Maps(&shapes));
        method.prepare(Facts::Shapes(&shapes));
        let counted = 4e-6 * method.parts(&shapes).temporaries as f64;
        let bounds = 0.9 * measured..=2.5 * measured;
        assert!(bounds.contains(&counted), "{name} of {student}: {counted:.0} of {measured} MB");
    }
}
