use super::*;
use crate::networks::{NETWORKS, find};
use crate::{Inference, Network};

fn network(text: &str) -> Result<DescribedNetwork> {
    DescribedNetwork::of_text(text, "own".to_owned(), Path::new("own.toml"))
}

fn graph(text: &str, input: MapShape) -> Result<Graph> {
    network(text)?.graph(input, 10)
}

#[test]
fn every_built_in_network_is_its_description() {
    for info in NETWORKS {
        let text = described(info.name).unwrap().unwrap();
        // VGG pools once more from 64 pixels on; the others are built for other channels too.
        for input in [MapShape::new(3, 32, 32), MapShape::new(1, 64, 72)] {
            let want = info.graph(input, 10).unwrap();
            let got = graph(&text, input).unwrap_or_else(|error| panic!("{}: {error}", info.name));
            // Operations with all their settings, values, parameters and their start, taps.
            assert!(
                format!("{got:?}") == format!("{want:?}"),
                "{}: {got:#?}\n{want:#?}",
                info.name
            );
        }
    }
}

#[test]
fn a_described_network_computes_what_the_built_in_one_computes() {
    let input = MapShape::new(3, 32, 32);
    let pixels: Vec<f32> = (0..2 * input.elements()).map(|i| (i % 29) as f32 / 29.0).collect();
    for name in ["resnet8x4", "ShuffleV2", "mobilenet_v3_small", "efficientnet_b0"] {
        let own = network(&described(name).unwrap().unwrap()).unwrap();
        let run = |network: &Network| Inference::new(network, &[]).run(&pixels, 2).to_vec();
        let got = run(&Network::from_graph(name, own.graph(input, 10).unwrap(), 3));
        assert_eq!(got, run(&Network::new(name, input, 10, 3).unwrap()), "{name}");
    }
}

#[test]
fn widths_repetitions_and_kernels_can_be_changed() {
    let text = described("resnet8x4").unwrap().unwrap();
    let wide = text.replace("repeat = 1, width = 256", "repeat = 2, width = 320");
    let own = graph(&wide, MapShape::new(3, 32, 32)).unwrap();
    let shape = |name: &str| {
        own.parameters().iter().find(|own| own.name == name).map(|own| own.shape.clone())
    };
    assert_eq!(shape("layer3.0.conv1.weight"), Some(vec![320, 128, 3, 3]));
    // Only the first block of a stage has a stride, and so a convolution in its shortcut.
    assert_eq!(shape("layer3.1.conv1.weight"), Some(vec![320, 320, 3, 3]));
    assert_eq!(shape("layer3.0.downsample.0.weight"), Some(vec![320, 128, 1, 1]));
    assert_eq!(shape("layer3.1.downsample.0.weight"), None);
    assert_eq!(shape("fc.weight"), Some(vec![10, 320]));
    assert_eq!(own.shape(own.map().unwrap()), MapShape::new(320, 8, 8));
}

/// A small network, whose third line is layer `one`, with a block `b` from line 8 on.
fn with(one: &str, of_block: &str) -> String {
    format!(
        "network = [\n    {{ conv = \"stem\", channels = 8, kernel = 3 }},\n    {one}\n    \
         {{ block = \"b\", name = \"s.{{i}}\", repeat = 2, width = 8 }},\n    \
         {{ classifier = \"fc\" }},\n]\n[blocks]\nb = [\n    {of_block}\n]\n"
    )
}

const PLAIN: &str = "{ conv = \"c\", channels = \"width\", kernel = 3 },";

#[test]
fn what_is_wrong_is_said_with_its_line_and_block() {
    let image = MapShape::new(3, 32, 32);
    assert!(graph(&with("", PLAIN), image).is_ok());
    for (text, line, want) in [
        (String::new(), 1, "there is no `network`"),
        ("network = 3".to_owned(), 1, "network is no list"),
        ("network = []".to_owned(), 1, "network has no layers"),
        ("network = [\n{ conv }]".to_owned(), 2, "not valid TOML"),
        (with("{ relu = true },", PLAIN), 3, "a layer of network does not say what it is"),
        (
            with("{ conv = \"a\", max_pool = 2 },", PLAIN),
            3,
            "is several things: `conv`, `max_pool`",
        ),
        (with("{ conv = \"a\", channels = 8 },", PLAIN), 3, "`kernel` is missing"),
        (
            with("{ batch_norm = \"a\", rule = true },", PLAIN),
            3,
            "`batch_norm` of network has no key `rule`",
        ),
        (with("{ batch_norm = \"a\", relu = 1 },", PLAIN), 3, "`relu` is neither true nor false"),
        (with("{ batch_norm = \"\" },", PLAIN), 3, "`batch_norm` is an empty name"),
        (with("{ block = \"c\", name = \"t\" },", PLAIN), 3, "there is no block `c`"),
        (with("{ block = \"b\" },", PLAIN), 3, "block `b` has no name here"),
        (with("{ block = \"b\", name = \"t\", repeat = 0 },", PLAIN), 3, "`repeat` is 0"),
        (
            with("{ block = \"b\", name = \"t\", in = 3 },", PLAIN),
            3,
            "`in` is no parameter of a block",
        ),
        (with("{ batch_norm = \"stem.{i\" },", PLAIN), 3, "a `}` is missing"),
        (with("{ max_pool = 2, from = \"x\" },", PLAIN), 3, "there is no value `x` yet"),
        (with("{ max_pool = 64 },", PLAIN), 3, "`max_pool` of 64 does not fit into 8×32×32"),
        (with("{ max_pool = 2, padding = 2 },", PLAIN), 3, "at stride 2 with padding 2"),
        (with("{ shuffle = 3 },", PLAIN), 3, "8 channels are shuffled in 3 groups"),
        (
            with("{ conv = \"stem\", channels = 8, kernel = 3 },", PLAIN),
            3,
            "two layers are called `stem`",
        ),
        (with("{ conv = \"a\", channels = 0, kernel = 3 },", PLAIN), 3, "`a` has channels 0"),
        (
            with("{ conv = \"a\", channels = 9, kernel = 3, groups = 2 },", PLAIN),
            3,
            "9 channels of 8 in 2 groups",
        ),
        (with("{ activation = \"swish\" },", PLAIN), 3, "`activation` is `swish`"),
        (with("{ global_pool = \"max\" },", PLAIN), 3, "`global_pool` is `max`"),
        (with("{ dropout = 1.0 },", PLAIN), 3, "`dropout` is no number from 0 to below 1"),
        (with("{ dropout = \"a\" },", PLAIN), 3, "`dropout` is no number from 0 to below 1"),
        (
            with("{ batch_norm = \"a\", epsilon = -1e-3 },", PLAIN),
            3,
            "`epsilon` is no number from 0 to below 1",
        ),
        (
            with("{ stochastic_depth = 0.2, part = 3, of = 2 },", PLAIN),
            3,
            "`stochastic_depth` of part 3 of 2",
        ),
        (with("{ product = \"input\" },", PLAIN), 3, "`product` of `input`, 3×32×32, and 8×32×32"),
        (with("{ sum = \"input\" },", PLAIN), 3, "`input`, which it adds, is 3×32×32"),
        (with("{ linear = \"a\", outputs = 0 },", PLAIN), 3, "`a` has outputs 0"),
        (with("{ linear = \"a\" },", PLAIN), 3, "`outputs` is missing"),
        (
            with("", PLAIN).replace("\"fc\"", "\"fc\", pooled = true"),
            5,
            "`fc` is to read a pooled map, and reads 8×32×32",
        ),
        (
            with("{ conv = \"a\", channels = 1048576, kernel = 99 },", PLAIN),
            3,
            "more than 268435456 parameters",
        ),
        (with("{ batch_norm = \"a\", add = \"input\" },", PLAIN), 3, "which it adds, is 3×32×32"),
        (with("{ concat = [\"input\", \"input\"] },", PLAIN), 3, "`concat` of `input`, 3×32×32"),
        (with("{ concat = [\"input\"] },", PLAIN), 3, "`concat` is no pair of values"),
        (with("{ value = \"input\", tap = true },", PLAIN), 3, "the image itself is no tap"),
        (
            with("{ conv = \"a\", channels = 1, kernel = 1, padding = 2 },", PLAIN),
            3,
            "`a` has padding 2",
        ),
        (with("{ classifier = \"a\", tap = true },", PLAIN), 3, "has no key `tap`"),
        (with("{ classifier = \"a\" },", PLAIN), 9, "something stands behind the classifier"),
        (with("{ classifier = \"a\", start = \"zero\" },", PLAIN), 3, "`start` is `zero`"),
        (with("", "{ classifier = \"a\" },"), 9, "block `b` as `s.0`: a block has a classifier"),
        (with("", "{ block = \"b\", name = \"a\" },"), 9, "block `b` uses another block"),
        (
            with("", "{ conv = \"c\", channels = \"depth\", kernel = 3 },"),
            9,
            "block `b` as `s.0`: nothing is called `depth`",
        ),
        (
            with("", "{ conv = \"c\", channels = \"width / 3\", kernel = 3 },"),
            9,
            "8 / 3 is no whole number",
        ),
        (
            with("", "{ conv = \"c\", channels = \"width +\", kernel = 3 },"),
            9,
            "something is missing at the end",
        ),
        (
            with("", "{ max_pool = 8 },"),
            9,
            "block `b` as `s.1`: `max_pool` of 8 does not fit into 8×4×4",
        ),
        (with("", PLAIN) + "c = [ { shuffle = 1 } ]", 7, "block `c` is not used"),
        (
            with("", PLAIN).replace("classifier", "batch_norm"),
            5,
            "the network does not end in a classifier",
        ),
        ("start = \"zero\"\nnetwork = []".to_owned(), 1, "`start` is `zero`"),
        ("depth = 3\n".to_owned() + &with("", PLAIN), 1, "the description has no key `depth`"),
    ] {
        match graph(&text, image) {
            Err(Error::Description { line: found, problem, hint, .. }) => {
                assert!(problem.contains(want), "{problem}, not {want}");
                assert_eq!(found, line, "{problem}");
                assert!(!hint.is_empty());
            }
            other => panic!("{want}: {other:?}"),
        }
    }
    let five = "tap = true },\n".repeat(6).replace("tap", "{ max_pool = 1, tap");
    let error = graph(&with(&five, PLAIN), image).unwrap_err().to_string();
    assert!(error.contains("more than 5 taps"), "{error}");
}

#[test]
fn a_file_is_named_by_its_content_and_by_its_path() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("own.toml");
    std::fs::write(&path, described("resnet8").unwrap().unwrap()).unwrap();
    let name = path.to_str().unwrap();
    let input = MapShape::new(1, 8, 8);
    let own = Network::new(name, input, 4, 1).unwrap();
    assert!(own.name().starts_with("own.toml:"), "{}", own.name());
    // From then on it is known by that name too.
    assert_eq!(
        find(own.name()).unwrap().graph(input, 4).unwrap().parameter_count(),
        own.graph().parameter_count()
    );
    assert_eq!(
        own.state_dict().len(),
        Network::new("resnet8", input, 4, 1).unwrap().state_dict().len()
    );
    for (file, want) in [("none.toml", "it cannot be read"), ("", "it cannot be read")] {
        let error = DescribedNetwork::open(&folder.path().join(file)).unwrap_err().to_string();
        assert!(error.contains(want), "{error}");
    }
    std::fs::write(&path, vec![b'#'; 2 << 20]).unwrap();
    let error = DescribedNetwork::open(&path).unwrap_err().to_string();
    assert!(error.contains("larger than 1 MiB"), "{error}");
    std::fs::write(&path, [0xff, 0xfe]).unwrap();
    let error = DescribedNetwork::open(&path).unwrap_err().to_string();
    assert!(error.contains("not UTF-8"), "{error}");
}
