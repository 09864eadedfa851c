//! A sample's values must not depend on the batch around it, bit for bit: what is kept of one run
//! of a frozen network (in memory, in a cache) stands for every later one.

use faculty_nets::{Inference, MapShape, NETWORKS, Network, ValueId};

const BATCH: usize = 13;

#[test]
fn values_of_a_sample_do_not_depend_on_its_batch_or_on_what_else_is_read() {
    for info in NETWORKS.iter().filter(|info| !info.name.contains("110")) {
        let input = MapShape::new(3, 32, 32);
        let network = Network::new(info.name, input, 10, 1).unwrap();
        let kept: Vec<ValueId> = network.graph().features().to_vec();
        let images: Vec<f32> = (0..BATCH * input.elements())
            .map(|i| ((i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as f32 / 8e6 - 1.0)
            .collect();
        let mut whole = Inference::new(&network, &kept);
        let all = values(&mut whole, &kept, &images, BATCH);
        let mut parts = Inference::new(&network, &kept);
        for (from, len) in [(0, 1), (1, 2), (3, 3), (6, 7), (12, 1)] {
            let pixels = &images[from * input.elements()..][..len * input.elements()];
            let some = values(&mut parts, &kept, pixels, len);
            for (index, (all, some)) in all.iter().zip(&some).enumerate() {
                let each = all.len() / BATCH;
                let same = all[from * each..][..len * each] == some[..];
                assert!(same, "{}: value {index}, {len} images from {from}", info.name);
            }
        }
        let logits = bits(Inference::new(&network, &[]).run(&images, BATCH));
        assert!(all[0] == logits, "{}: logits change when maps are read", info.name);
    }
}

/// Logits and the kept values, as bits.
fn values(plan: &mut Inference, kept: &[ValueId], images: &[f32], batch: usize) -> Vec<Vec<u32>> {
    let mut all = vec![bits(plan.run(images, batch))];
    all.extend(kept.iter().map(|&value| bits(plan.value(value))));
    all
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}
