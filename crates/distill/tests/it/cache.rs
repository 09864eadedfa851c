//! Caches: the same run as with live teachers, whatever interrupts the build; and every way in
//! which a cache can be the wrong one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use faculty_data::View;
use faculty_data::{Dataset, Format};
use faculty_distill::cache::plan as plan_cache;
use faculty_distill::recipe::Recipe;
use faculty_distill::{CheckedRun, Error};
use faculty_nets::weights;
use faculty_teachers::TeacherError;
use faculty_teachers::cache::{Built, CacheEvent, verify};
use faculty_teachers::{TeacherBatch, TeacherSource as _};
use safetensors::{Dtype, SafeTensors};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::data::{dataset, network, unit};
use crate::runs::{recipe, run, student, timeless};

/// A recipe with a cache in `folder`.
pub(crate) fn cached(folder: &Path, method: &str, teachers: usize, sets: &[&str]) -> Recipe {
    let path = format!("cache.path={}", folder.join("cache").display());
    let own = ["data.views=2", "cache.block=50", &path];
    recipe(folder, method, teachers, &[&own, sets].concat())
}

pub(crate) fn build(recipe: &Recipe) -> Result<Built, Error> {
    let dataset = dataset();
    plan_cache(recipe, &dataset)?.build(&AtomicBool::new(false), &mut |_| {}).map_err(Error::from)
}

fn checked(recipe: &Recipe) -> Result<CheckedRun, Error> {
    CheckedRun::new(recipe, &dataset())
}

/// Every file below a folder with its bytes.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    fn walk(folder: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, files);
            } else {
                files.insert(path.clone(), std::fs::read(path).unwrap());
            }
        }
    }
    let mut all = BTreeMap::new();
    walk(folder, &mut all);
    all.into_iter().map(|(p, bytes)| (p.strip_prefix(folder).unwrap().to_owned(), bytes)).collect()
}

#[test]
fn training_from_an_f32_cache_equals_training_with_live_teachers_bit_for_bit() {
    // The last three read maps that not every network has, or those before an activation.
    for (method, teachers) in
        [("ca-mkd", 3), ("kd", 1), ("aver", 2), ("vid", 2), ("reviewkd", 1), ("sp", 2)]
    {
        let folder = tempfile::tempdir().unwrap();
        let cached = cached(folder.path(), method, teachers, &[]);
        let mut live = cached.clone();
        live.cache = None;
        let (a, b) = (folder.path().join("live"), folder.path().join("from-cache"));
        let live = run(&live, &a).unwrap();
        build(&cached).unwrap();
        let from_cache = run(&cached, &b).unwrap();
        assert!(student(&a) == student(&b), "{method}: students differ");
        assert_eq!(timeless(&a), timeless(&b), "{method}");
        assert_eq!(live.teachers, from_cache.teachers, "{method}");
        assert_eq!(live.ensemble, from_cache.ensemble, "{method}");
    }
}

#[test]
fn an_f16_cache_is_close_and_half_the_size() {
    let folder = tempfile::tempdir().unwrap();
    let full = cached(folder.path(), "ca-mkd", 1, &[]);
    let mut half = cached(folder.path(), "ca-mkd", 1, &["cache.dtype=f16"]);
    half.cache.as_mut().unwrap().path = Some(folder.path().join("half"));
    build(&full).unwrap();
    build(&half).unwrap();
    let maps = |name: &str| {
        let shard = format!("{name}/teachers/t0/map/00000.safetensors");
        std::fs::read(folder.path().join(shard)).unwrap()
    };
    let (full, half) = (maps("cache"), maps("half"));
    let records = 50 * 2 * 32 * 2 * 2;
    assert_eq!(full.len() - half.len(), records * 2);
    let (full, half) =
        (SafeTensors::deserialize(&full).unwrap(), SafeTensors::deserialize(&half).unwrap());
    let (full, half) = (full.tensor("map").unwrap(), half.tensor("map").unwrap());
    assert_eq!(full.shape(), [50, 2, 32, 2, 2]);
    assert_eq!((full.dtype(), half.dtype()), (Dtype::F32, Dtype::F16));
}

#[test]
fn many_methods_and_seeds_share_one_cache() {
    let folder = tempfile::tempdir().unwrap();
    let first = cached(folder.path(), "ca-mkd", 2, &["data.view_seed=7"]);
    let built = build(&first).unwrap();
    assert!(built.shards > 0);
    let before = files(&folder.path().join("cache"));
    for (method, seed) in [("aver", 4), ("kd", 5), ("ca-mkd", 6)] {
        let other = cached(folder.path(), method, 1 + usize::from(method != "kd"), &[]);
        let mut other = Recipe { seed, ..other };
        other.data.view_seed = Some(7);
        assert_eq!(build(&other).unwrap(), Built::default(), "{method}");
        run(&other, &folder.path().join(method)).unwrap();
    }
    assert!(files(&folder.path().join("cache")) == before, "the cache was changed");

    // Another teacher is added; nothing is computed again.
    let more = cached(folder.path(), "ca-mkd", 3, &["data.view_seed=7"]);
    assert_eq!(build(&more).unwrap().shards * 2, built.shards);
    let after = files(&folder.path().join("cache"));
    let kept = |(path, bytes): (&PathBuf, &Vec<u8>)| {
        path.ends_with("manifest.json") || after.get(path) == Some(bytes)
    };
    assert!(before.iter().all(kept));
}

#[test]
fn maps_can_follow_logits() {
    let folder = tempfile::tempdir().unwrap();
    let logits = cached(folder.path(), "aver", 1, &[]);
    build(&logits).unwrap();
    let maps = cached(folder.path(), "ca-mkd", 1, &[]);
    let error = checked(&maps).err().unwrap();
    assert!(matches!(&error, Error::Teacher(TeacherError::CacheIncomplete { .. })), "{error}");
    let built = build(&maps).unwrap();
    // The training split of 240 samples in blocks of 50, and nothing else.
    assert_eq!(built.shards, 5);
    checked(&maps).unwrap();
    // A recipe that keeps no maps cannot feed a method that reads them.
    let none = cached(folder.path(), "ca-mkd", 1, &["cache.maps=none"]);
    let error = checked(&none).err().unwrap();
    assert!(matches!(error, Error::CacheMaps { maps: "none", .. }), "{error}");
}

#[test]
fn a_stopped_build_goes_on_to_the_same_bytes_without_computing_anything_twice() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = cached(folder.path(), "ca-mkd", 2, &["cache.block=20"]);
    let whole = build(&recipe).unwrap();
    let cache = folder.path().join("cache");
    let expected = files(&cache);
    std::fs::remove_dir_all(&cache).unwrap();
    let dataset = dataset();
    let (mut shards, mut stops) = (0, 0);
    loop {
        let stop = AtomicBool::new(false);
        let mut seen = 0;
        let before = files_or_none(&cache);
        let built = plan_cache(&recipe, &dataset).unwrap().build(&stop, &mut |event| {
            let CacheEvent::Images { total, done, .. } = event;
            assert!(done <= total);
            seen += 1;
            stop.store(seen == 5, Ordering::Relaxed);
        });
        for (path, bytes) in before {
            assert!(files(&cache)[&path] == bytes, "{} was written again", path.display());
        }
        match built {
            Ok(built) => {
                shards += built.shards;
                break;
            }
            Err(error) => assert!(matches!(error, TeacherError::CacheStopped { .. }), "{error}"),
        }
        stops += 1;
    }
    assert!(stops > 5 && shards < whole.shards, "{stops} stops");
    assert!(files(&cache) == expected, "other bytes");
}

fn files_or_none(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    if folder.exists() { files(folder) } else { BTreeMap::new() }
}

#[test]
fn the_bytes_do_not_depend_on_the_number_of_threads() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = cached(folder.path(), "ca-mkd", 1, &[]);
    let cache = folder.path().join("cache");
    let mut all = Vec::new();
    for threads in [1, 2, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| build(&recipe)).unwrap();
        all.push(files(&cache));
        std::fs::remove_dir_all(&cache).unwrap();
    }
    assert!(all[0] == all[1] && all[0] == all[2], "other bytes");
}

#[test]
fn another_origin_is_refused_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = cached(folder.path(), "ca-mkd", 2, &[]);
    build(&recipe).unwrap();
    let before = files(&folder.path().join("cache"));
    let refused = |recipe: &Recipe, dataset: &Dataset| {
        let run = CheckedRun::new(recipe, dataset).err().unwrap();
        let plan = plan_cache(recipe, dataset).err().unwrap();
        assert_eq!(run.to_string(), plan.to_string());
        assert!(matches!(plan, Error::Teacher(TeacherError::CacheMismatch { .. })), "{plan}");
        assert!(plan.hint().is_some());
        (plan.to_string(), plan.hint().unwrap())
    };
    type Change = fn(&mut Recipe);
    let changes: [(&str, Change); 8] = [
        ("`data.views` differs (cache: 2; recipe: 3)", |r| r.data.views = Some(3)),
        ("`data.view_seed` differs (cache: 3; recipe: 9)", |r| r.seed = 9),
        ("`data.crop_padding` differs", |r| r.data.crop_padding = 2),
        ("`data.flip` differs", |r| r.data.flip = false),
        ("`cache.dtype` differs (cache: f32; recipe: f16)", |r| {
            r.cache.as_mut().unwrap().dtype = faculty_distill::recipe::CacheDtype::F16;
        }),
        ("`data.mean` differs", |r| {
            r.data.mean = Some(vec![0.5]);
            r.data.std = Some(vec![0.25]);
        }),
        ("teacher `t1`: std differs", |r| {
            // The data's own mean is measured, so only about equal.
            r.teachers[1].std = Some(vec![0.5]);
        }),
        ("teacher `t1`: weight file (SHA-256) differs", |r| {
            r.teachers[1].weights = r.teachers[0].weights.clone();
        }),
    ];
    for (expected, change) in changes {
        let mut other = recipe.clone();
        change(&mut other);
        if expected.contains("std") {
            let mean =
                plan_cache(&recipe, &dataset()).unwrap().manifest().normalisation.mean.clone();
            other.teachers[1].mean = Some(mean);
        }
        let (message, hint) = refused(&other, &dataset());
        assert!(message.contains(expected), "{message}");
        if expected.contains("view_seed") {
            assert!(hint.contains("set `data.view_seed = 3`"), "{hint}");
        }
    }

    // The same images under other labels, other names, and fewer samples than wanted.
    let whole = dataset();
    let [train, test] = [whole.train(), whole.test().unwrap()].map(|set| set.images().unwrap());
    let classes = whole.classes().to_vec();
    let make = |classes: Vec<String>, keep: usize| {
        let train = train.select(&(0..keep).collect::<Vec<_>>());
        Dataset::new("bands", Format::Folder, classes, train, Some(test.clone())).unwrap()
    };
    let (message, _) = refused(&recipe, &make(classes.clone(), 239));
    assert!(message.contains("the data set (fingerprint"), "{message}");
    let mut renamed = classes;
    renamed[1] = "centre".to_owned();
    let (message, _) = refused(&recipe, &make(renamed, 240));
    assert!(message.contains("(cache: middle; recipe: centre)"), "{message}");
    let mut more = recipe.clone();
    more.data.validation = 0.05.into();
    // Measured on more samples it would differ first.
    let own = plan_cache(&recipe, &whole).unwrap().manifest().normalisation.clone();
    (more.data.mean, more.data.std) = (Some(own.mean), Some(own.std));
    let (message, _) = refused(&more, &dataset());
    assert!(message.contains("samples for training"), "{message}");
    assert!(files(&folder.path().join("cache")) == before, "a refusal changes nothing");
}

/// Opens the cache and reads every record of it.
fn read_all(recipe: &Recipe) -> Result<(), Error> {
    let run = folder_of(recipe).join("read-all");
    let result = self::run(recipe, &run);
    let _ = std::fs::remove_dir_all(run);
    result.map(|_| ())
}

fn folder_of(recipe: &Recipe) -> PathBuf {
    recipe.cache.as_ref().unwrap().path.as_ref().unwrap().parent().unwrap().to_owned()
}

#[test]
fn a_flipped_byte_anywhere_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    // The method reads maps from its second epoch on, so three epochs read every record.
    let sets = ["train.epochs=3", "train.drop_last=false", "cache.block=1000"];
    let recipe = cached(folder.path(), "ca-mkd", 1, &sets);
    build(&recipe).unwrap();
    read_all(&recipe).unwrap();
    let cache = folder.path().join("cache");
    for (name, bytes) in files(&cache) {
        if name.ends_with("lock") {
            continue;
        }
        let path = cache.join(&name);
        let places = 10;
        let last = bytes.len() - 1;
        let drawn = (0..places).map(|i| (unit(i, 77) * bytes.len() as f64) as usize);
        for place in [0, 8, 40, last].into_iter().chain(drawn) {
            let mut changed = bytes.clone();
            changed[place] ^= 1 << (place % 8);
            std::fs::write(&path, &changed).unwrap();
            // Classifier files hold a header of the library's, whose padding says nothing.
            let harmless = name.ends_with("classifier.safetensors")
                && weights::read_safetensors(&path).is_ok_and(|(state, _)| {
                    let (old, _) = weights::parse_safetensors(&path, &bytes).unwrap();
                    state == old
                });
            match read_all(&recipe) {
                Ok(()) => assert!(harmless, "{}: byte {place}", name.display()),
                Err(error) => {
                    let text = error.to_string();
                    let refusal = matches!(
                        error,
                        Error::Teacher(TeacherError::CacheDamaged { .. })
                            | Error::Teacher(TeacherError::CacheMismatch { .. })
                    );
                    assert!(refusal, "{}: byte {place}: {text}", name.display());
                    assert!(text.contains(&*name.file_name().unwrap().to_string_lossy()), "{text}");
                }
            }
        }
        std::fs::write(&path, &bytes).unwrap();
    }
    read_all(&recipe).unwrap();
}

#[test]
fn a_file_cut_short_or_missing_is_refused_and_mended_alone() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = cached(folder.path(), "ca-mkd", 1, &[]);
    build(&recipe).unwrap();
    let cache = folder.path().join("cache");
    let good = files(&cache);
    for (name, bytes) in &good {
        if name.ends_with("lock") || name.ends_with("manifest.json") {
            continue;
        }
        let path = cache.join(name);
        for keep in [0, 7, 8, 60, bytes.len() / 2, bytes.len() - 1] {
            std::fs::write(&path, &bytes[..keep]).unwrap();
            let error = checked(&recipe).err().unwrap();
            assert!(
                matches!(error, Error::Teacher(TeacherError::CacheDamaged { .. })),
                "{}: {error}",
                name.display()
            );
            assert!(matches!(
                build(&recipe).unwrap_err(),
                Error::Teacher(TeacherError::CacheDamaged { .. })
            ));
        }
        std::fs::remove_file(&path).unwrap();
        if name.ends_with("samples.safetensors") {
            assert!(matches!(checked(&recipe).err().unwrap(), Error::File(_)));
            std::fs::write(&path, bytes).unwrap();
            continue;
        }
        let error = checked(&recipe).err().unwrap();
        assert!(
            matches!(error, Error::Teacher(TeacherError::CacheIncomplete { .. })),
            "{}: {error}",
            name.display()
        );
        assert!(build(&recipe).unwrap().shards <= 1);
        assert!(files(&cache) == good, "{}", name.display());
    }
    // Cut while it is in use: an error, not a signal.
    let dataset = dataset();
    let plan = plan_cache(&recipe, &dataset).unwrap();
    let mut sources = plan.teachers().unwrap();
    let part = plan.data().train.clone();
    let ids = part.ids();
    let batch = TeacherBatch { ids: &ids, view: View::Train(1), inputs: (&[]).into() };
    sources[0].source.outputs(&batch, &[]).unwrap();
    let path = cache.join("teachers/t0/logits/00001.safetensors");
    std::fs::write(&path, &good[Path::new("teachers/t0/logits/00001.safetensors")][..900]).unwrap();
    let error = sources[0].source.outputs(&batch, &[]).unwrap_err();
    assert!(error.to_string().contains("cut short"), "{error}");
}

/// Two teachers of one network: their shards have the same length, ids and shapes.
#[test]
fn records_of_one_teacher_never_pass_for_those_of_another() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = cached(folder.path(), "aver", 2, &[]);
    build(&recipe).unwrap();
    let cache = folder.path().join("cache");
    let good = files(&cache);
    let at = |name: &str| cache.join("teachers").join(name);
    let swap = |a: &str, b: &str| {
        std::fs::rename(at(a), at("aside")).unwrap();
        std::fs::rename(at(b), at(a)).unwrap();
        std::fs::rename(at("aside"), at(b)).unwrap();
    };
    for (a, b) in [
        ("t0", "t1"),
        ("t0/logits", "t1/logits"),
        ("t0/plain", "t1/plain"),
        ("t0/logits/00001.safetensors", "t1/logits/00001.safetensors"),
    ] {
        swap(a, b);
        for error in [checked(&recipe).err().unwrap(), build(&recipe).unwrap_err()] {
            assert!(
                matches!(error, Error::Teacher(TeacherError::CacheDamaged { .. })),
                "{a}: {error}"
            );
            assert!(error.to_string().contains("of something else"), "{a}: {error}");
        }
        swap(a, b);
    }
    read_all(&recipe).unwrap();

    // Without a manifest each shard says itself what it is of: those that fit stay, the others are
    // computed again, and that is reported.
    std::fs::remove_file(cache.join("manifest.json")).unwrap();
    assert_eq!(build(&recipe).unwrap().shards, 0);
    assert!(files(&cache) == good);
    swap("t0/logits", "t1/logits");
    std::fs::remove_file(cache.join("manifest.json")).unwrap();
    let data = dataset();
    let warnings = plan_cache(&recipe, &data).unwrap().warnings();
    assert!(warnings[0].contains("computed again"), "{warnings:?}");
    let written = build(&recipe).unwrap().shards;
    assert_eq!(
        written,
        good.keys().filter(|path| path.starts_with("teachers/t0/logits")).count() * 2
    );
    assert!(files(&cache) == good);
    assert!(plan_cache(&recipe, &data).unwrap().warnings().is_empty());

    // The weights of a teacher are exchanged and the manifest is deleted, as a hint may say.
    let mut other = recipe.clone();
    other.teachers[0].weights.clone_from(&recipe.teachers[1].weights);
    std::fs::remove_file(cache.join("manifest.json")).unwrap();
    assert!(build(&other).unwrap().shards > 0);
    let now = files(&cache);
    for (path, bytes) in &good {
        let of_t0 = path.starts_with("teachers/t0");
        assert_eq!(
            now[path] != *bytes,
            of_t0 || path.ends_with("manifest.json"),
            "{}",
            path.display()
        );
    }
}

#[test]
fn hostile_manifests_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = cached(folder.path(), "ca-mkd", 1, &[]);
    build(&recipe).unwrap();
    let path = folder.path().join("cache/manifest.json");
    let good = std::fs::read_to_string(&path).unwrap();
    let newer = good.replacen("\"format\": 2", "\"format\": 3", 1);
    let huge = good.replacen("\"block\": 50", "\"block\": 18446744073709551615", 1);
    for (text, expected) in [
        ("", "is damaged"),
        ("{", "is damaged"),
        ("[]", "is damaged"),
        (newer.as_str(), "the format differs (cache: 3; recipe: 2 in this version"),
        (huge.as_str(), "does not have its checksum"),
        (&good[..good.len() / 2], "is damaged"),
    ] {
        std::fs::write(&path, text).unwrap();
        let error = checked(&recipe).err().unwrap().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_record_follows_its_sample_through_every_order_and_subset() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = cached(folder.path(), "ca-mkd", 1, &["cache.block=7"]);
    build(&recipe).unwrap();
    let whole = dataset();
    let plan = plan_cache(&recipe, &whole).unwrap();
    let mut source = plan.teachers().unwrap().remove(0).source;
    let taps = [faculty_distill::tap::Tap::Map];
    let ids = plan.data().train.ids();
    let mut outputs = |ids: &[_], view: u32| {
        let batch = TeacherBatch { ids, view: View::Train(view), inputs: (&[]).into() };
        source.outputs(&batch, &taps).unwrap()
    };
    let all: Vec<_> = (0..2).map(|view| outputs(&ids, view)).collect();
    let own = |values: &[f32], place: usize, count: usize| -> Vec<u32> {
        let each = values.len() / count;
        values[place * each..(place + 1) * each].iter().map(|v| v.to_bits()).collect()
    };
    for case in 0..50 {
        // Any order, any part, even with repetitions.
        let length = 1 + (unit(case, 1) * 60.0) as usize;
        let places: Vec<usize> = (0..length)
            .map(|i| (unit(case * 1000 + i as u64, 2) * ids.len() as f64) as usize)
            .collect();
        let some: Vec<_> = places.iter().map(|&place| ids[place]).collect();
        let view = (case % 2) as u32;
        let got = outputs(&some, view);
        let all = &all[view as usize];
        for (index, &place) in places.iter().enumerate() {
            let logits = own(&got.logits, index, length);
            assert_eq!(logits, own(&all.logits, place, ids.len()), "case {case}");
            let map = own(&got.maps[0], index, length);
            assert_eq!(map, own(&all.maps[0], place, ids.len()), "case {case}");
        }
    }
    // The same data in another order of its files is the same data.
    let order: Vec<usize> = (0..240).rev().collect();
    let reversed = Dataset::new(
        "bands",
        Format::Folder,
        whole.classes().to_vec(),
        whole.train().images().unwrap().select(&order),
        whole.test().map(|test| test.images().unwrap().clone()),
    )
    .unwrap();
    assert!(plan_cache(&recipe, &reversed).unwrap().is_complete());
    // A recipe on fewer of the samples reads the records of those, if its normalisation is given.
    let given = ["data.mean=[0.4]", "data.std=[0.25]", "cache.block=7"];
    let folder = tempfile::tempdir().unwrap();
    let large = cached(folder.path(), "ca-mkd", 1, &given);
    build(&large).unwrap();
    let mut small = large;
    small.data.train_samples = Some(100);
    assert!(plan_cache(&small, &whole).unwrap().is_complete());
    let (live, from_cache) = (folder.path().join("live"), folder.path().join("small"));
    run(&small, &from_cache).unwrap();
    small.cache = None;
    run(&small, &live).unwrap();
    assert!(student(&live) == student(&from_cache), "students differ");
}

#[test]
fn verification_computes_records_again_and_sees_a_wrong_one() {
    let folder = tempfile::tempdir().unwrap();
    for dtype in ["f32", "f16"] {
        let sets = [format!("cache.dtype={dtype}")];
        let mut recipe = cached(folder.path(), "ca-mkd", 2, &[&sets[0]]);
        recipe.cache.as_mut().unwrap().path = Some(folder.path().join(dtype));
        build(&recipe).unwrap();
        let dataset = dataset();
        let found = verify(&plan_cache(&recipe, &dataset).unwrap(), 40, 5).unwrap();
        assert_eq!((found.records, found.different, found.first), (40, 0, None), "{dtype}");
    }
    // Records of another teacher under this one's name, with everything else right.
    let recipe = cached(folder.path(), "aver", 1, &[]);
    build(&recipe).unwrap();
    let cache = folder.path().join("cache");
    let stolen = std::fs::read(cache.join("teachers/t0/logits/00000.safetensors")).unwrap();
    std::fs::remove_dir_all(&cache).unwrap();
    let path = folder.path().join("teacher0.safetensors");
    weights::write(&path, &network(99).state_dict(), &BTreeMap::new()).unwrap();
    build(&recipe).unwrap();
    let shard = cache.join("teachers/t0/logits/00000.safetensors");
    let forged = relabelled(&stolen, &std::fs::read(&shard).unwrap());
    std::fs::write(&shard, forged).unwrap();
    let dataset = dataset();
    let found = verify(&plan_cache(&recipe, &dataset).unwrap(), 200, 5).unwrap();
    assert!(found.different > 5 && found.largest_difference > 0.01, "{found:?}");
    assert!(found.first.unwrap().contains("teacher `t0`, logits of view"));
}

/// The records of one shard of 50 samples and 2 views under the header of another, with all hashes as
/// they would have to be.
fn relabelled(records: &[u8], of: &[u8]) -> Vec<u8> {
    let word = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap());
    let start = 8 + word(&of[..8]) as usize;
    let header = String::from_utf8(of[..start].to_vec()).unwrap();
    let hash = |key: &str| {
        let (_, rest) = header.split_once(&format!("\"{key}\":\"")).unwrap();
        rest[..16].to_owned()
    };
    let origin = u64::from_str_radix(&hash("origin"), 16).unwrap();
    let (ids, rest) = records[start..].split_at(8 * 50);
    let records = &rest[8 * 100..];
    let mut index = ids.to_vec();
    for (at, record) in records.chunks(records.len() / 100).enumerate() {
        let seed = word(&ids[8 * (at / 2)..][..8]) ^ (at % 2) as u64 ^ origin;
        index.extend(xxh3_64_with_seed(record, seed).to_le_bytes());
    }
    let header = header.replace(&hash("index"), &format!("{:016x}", xxh3_64(&index)));
    [header.as_bytes(), &index, records].concat()
}

#[test]
fn values_that_half_precision_cannot_hold_and_weak_teachers_stop_the_build() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = cached(folder.path(), "aver", 1, &["cache.dtype=f16"]);
    let path = folder.path().join("teacher0.safetensors");
    let mut state = network(50).state_dict();
    state.get_mut("fc.bias").unwrap().values[1] = 1e5;
    weights::write(&path, &state, &BTreeMap::new()).unwrap();
    let error = build(&recipe).unwrap_err();
    assert!(
        matches!(&error, Error::Teacher(TeacherError::CacheValue { dtype: "f16", .. })),
        "{error}"
    );
    assert!(error.hint().unwrap().contains("f32"));

    // Always the first class; reported after the plain images, before the views.
    state.get_mut("fc.weight").unwrap().values.fill(0.0);
    state.get_mut("fc.bias").unwrap().values.copy_from_slice(&[1.0, 0.0, 0.0]);
    weights::write(&path, &state, &BTreeMap::new()).unwrap();
    std::fs::remove_dir_all(folder.path().join("cache")).unwrap();
    let mut weak = recipe;
    weak.teachers[0].allow_weak = false;
    weak.data.validation = 0.0.into();
    let error = build(&weak).unwrap_err();
    assert!(matches!(error, Error::Teacher(TeacherError::WeakTeacher { .. })), "{error}");
    let logits = folder.path().join("cache/teachers/t0/logits");
    assert_eq!(std::fs::read_dir(logits).unwrap().count(), 0);
}
