//! The sections of a recipe and their keys. A new key is added here and nowhere else.

use std::ops::Bound;
use std::path::PathBuf;

use super::class_weights::ClassWeights;
use super::classes::Classes;
use super::heads::Heads;
use super::method::Method;
use super::range::Range;
use super::section::{Section as _, section};
use super::setting::words;
use super::validation::Validation;

/// Every count: far above any use, far below what a float holds exactly.
const COUNT: Range = Range::between(1.0, 1e12);
/// A label.
const LABEL: Range = Range::between(0.0, 1e9);
const SHARE: Range = Range::between(0.0, 1.0);
const FORMATS: &[&str] = &[
    "idx",
    "cifar-binary",
    "cifar-python",
    "parquet",
    "folder",
    "list",
    "text-csv",
    "text-json",
    "text-parquet",
    "text-folder",
];

section! {
    /// Everything that a run is made of, as plain data.
    ///
    /// Read one with [`Recipe::load`], or fill the fields in code and call [`Recipe::check`].
    pub struct Recipe {
        /// Random seed: one seed, one result. At most 2^53 - 1, so that JSON
        /// readers keep it.
        #[within(Range::between(0.0, 9_007_199_254_740_991.0))]
        seed: u64 = 1, "faculty's choice";
        /// Title in reports.
        name: Option<String> = None, "no title";
        /// Run folder, relative to the recipe file.
        output: Option<PathBuf> = None, "`runs/` in the current folder, then the recipe's name";
    }
    sections {
        /// The samples.
        data: Data;
        /// The network to train.
        student: Student;
        /// The trained networks to learn from.
        teachers: Vec<Teacher>;
        /// How to learn from them.
        method: Method;
        /// The optimiser and its schedule.
        train: Train;
        /// Files that keep the teachers' outputs.
        cache: Option<Cache>;
        /// Several students instead of one.
        plan: Option<Plan>;
        /// How classifier heads inside teachers are trained.
        heads: Option<HeadTraining>;
    }
}

section! {
    /// `[data]`: where the samples come from and how they are prepared.
    pub struct Data {
        /// File or folder of the data set.
        path: PathBuf;
        /// How the data set is stored: `idx`, `cifar-binary`, `cifar-python`, `parquet`, `folder`, `list`,
        /// `text-csv`, `text-json`, `text-parquet` or `text-folder`.
        #[within(Range::Words(FORMATS))]
        format: Option<String> = None, "recognised from the files";
        /// Split to train on: its name, or the path of its folder or file, taken from `data.path`.
        train: Option<String> = None, "the split called `train` or `training`";
        /// What the best epoch is chosen by: a split by its name or path, as `val`; or the share of
        /// the training split that is held out where the data set has no validation split of its own
        /// (`val`, `valid`, `validation`, `dev`). With 0 there is none, and the last epoch counts as
        /// the best.
        #[within(Range::below(0.0, 0.9))]
        validation: Validation = Validation::Share(0.1), "faculty's choice";
        /// Split that gives the final numbers: its name or path, or `none`.
        test: Option<String> = None, "the split called `test`, `testing` or `t10k`";
        /// Names of the classes in the order of their labels.
        classes: Option<Vec<String>> = None, "those in the data, or numbers";
        /// Label of the first class, for data sets that count from 1.
        #[within(LABEL)]
        first_label: Option<u32> = None, "0";
        /// Column that holds the labels, for data sets with several.
        label_column: Option<String> = None, "recognised from the files";
        /// Column that holds the images (of a list: their paths), for data sets with several.
        image_column: Option<String> = None, "recognised from the files";
        /// Column that holds the texts, for tables of texts with several.
        text_column: Option<String> = None, "recognised from the files";
        /// Column that holds the second text of a pair, for tables of texts.
        text_pair_column: Option<String> = None, "recognised from the files";
        /// What to do with training texts that are there more than once, or in another split too:
        /// `keep`, or `drop` all but one of them from training.
        #[within(Range::Words(OnDuplicateText::NAMES))]
        on_duplicate_text: Option<OnDuplicateText> = None, "`keep`";
        /// Share of the words that each training view of a text leaves out, drawn for each word.
        #[within(Range::below(0.0, 1.0))]
        word_deletion: Option<f64> = None, "none";
        /// Swaps of two words in each training view of a text, for one word.
        #[within(Range::between(0.0, 1.0))]
        word_swap: Option<f64> = None, "none";
        /// What to do with an image that cannot be read: `stop`, or `skip` it and say so.
        #[within(Range::Words(OnBadImage::NAMES))]
        on_bad_image: OnBadImage = OnBadImage::Stop, "faculty's choice";
        /// Whether images are turned as their EXIF orientation says, as viewers show them (`apply`), or
        /// read as they are stored (`ignore`).
        #[within(Range::Words(ExifOrientation::NAMES))]
        exif_orientation: Option<ExifOrientation> = None, "`apply`";
        /// Read through links that lead out of the data set's folder.
        follow_links: bool = false, "faculty's choice";
        /// Height and width in pixels that every image is scaled to.
        #[within(Range::between(1.0, 4096.0))]
        resize: Option<[usize; 2]> = None, "images stay as they are";
        /// Use only this many samples of the training split.
        #[within(COUNT)]
        train_samples: Option<usize> = None, "all";
        /// Labels that are kept for each class of the training split (all of a rarer class); the
        /// other samples have none then.
        #[within(COUNT)]
        labels_per_class: Option<usize> = None, "all";
        /// Random seed of which labels are kept.
        #[within(Range::between(0.0, 9_007_199_254_740_991.0))]
        labels_seed: u64 = 1, "faculty's choice: the same ones for every `seed`";
        /// What to do with training samples that have no label: `drop` them, or `use` them, so that
        /// the student learns what the teachers say of them.
        #[within(Range::Words(Unlabelled::NAMES))]
        unlabelled: Unlabelled = Unlabelled::Drop, "faculty's choice";
        /// Share of the training labels that are replaced by random wrong ones, to make a bad
        /// teacher on purpose.
        #[within(SHARE)]
        label_noise: f64 = 0.0, "faculty's choice";
        /// Which wrong labels: `uniform` draws any other class, `pair` takes the next one.
        #[within(Range::Words(LabelNoise::NAMES))]
        label_noise_kind: LabelNoise = LabelNoise::Uniform, "faculty's choice";
        /// Random seed of the label noise: runs with different seeds but one
        /// `label_noise_seed` have the same wrong labels.
        #[within(Range::between(0.0, 9_007_199_254_740_991.0))]
        label_noise_seed: Option<u64> = None, "the same as `seed`";
        /// Mean of each channel, of pixel values scaled to 0..1.
        mean: Option<Vec<f32>> = None, "measured on the training split";
        /// Standard deviation of each channel, of pixel values scaled to 0..1.
        #[within(Range::above(0.0))]
        std: Option<Vec<f32>> = None, "measured on the training split";
        /// Each training view is a random part of the image, scaled to the image's size: the smallest
        /// and the largest share of the area, as `[0.08, 1.0]`.
        #[within(Range::up_to(0.0, 1.0))]
        random_resized_crop: Option<[f64; 2]> = None, "a crop from `crop_padding`";
        /// Training images are padded by this many pixels on each side, then cropped at random;
        /// 0 = no crop.
        #[within(Range::between(0.0, 64.0))]
        crop_padding: usize = if random_resized_crop.is_some() { 0 } else { 4 }, "CA-MKD paper; 0 with `random_resized_crop`";
        /// Mirror every second training image, at random.
        flip: bool = true, "CA-MKD paper";
        /// Change each training view by one operation (turned, sheared, recoloured, …) at a random
        /// strength: TrivialAugment with its wide ranges.
        trivial_augment: bool = false, "CA-MKD paper: none";
        /// Probability with which a rectangle of a training view is blotted out.
        #[within(SHARE)]
        random_erasing: f64 = 0.0, "CA-MKD paper: none";
        /// Mix each training view with that of another sample, and their labels: α of mixup, whose share
        /// is drawn from Beta(α, α).
        #[within(Range::between(1e-3, 1e3))]
        mixup: Option<f64> = None, "CA-MKD paper: none";
        /// Put a rectangle of another sample's view into each training view, and mix their labels: α of
        /// CutMix, whose share is drawn from Beta(α, α). With `mixup` too, either by even chances.
        #[within(Range::between(1e-3, 1e3))]
        cutmix: Option<f64> = None, "CA-MKD paper: none";
        /// Probability with which a training view is mixed (mixup, cutmix).
        #[within(SHARE)]
        mix_probability: f64 = 1.0, "mixup paper; CutMix paper: 0.5 on CIFAR, 1 on ImageNet";
        /// Number of different augmented views of each sample; epoch e uses view e mod views.
        #[within(Range::between(1.0, 65536.0))]
        views: Option<u32> = None, "a new view in every epoch";
        /// Random seed of the views: runs with different seeds but one `view_seed`
        /// see the same views, and share a cache.
        #[within(Range::between(0.0, 9_007_199_254_740_991.0))]
        view_seed: Option<u64> = None, "the same as `seed`";
    }
    sections {
        /// Operations that change each training view, drawn at random.
        rand_augment: Option<RandAugment>;
        /// Changes of the colours of training views.
        color_jitter: Option<ColorJitter>;
    }
}

section! {
    /// `[data.rand_augment]`: operations (turned, sheared, recoloured, …) that change each training view.
    pub struct RandAugment {
        /// Operations on each view, one after another, each drawn from all.
        #[within(Range::between(1.0, 14.0))]
        operations: u32 = 2, "torchvision";
        /// Strength of all of them, of 30.
        #[within(Range::between(0.0, 30.0))]
        magnitude: u32 = 9, "torchvision";
    }
}

section! {
    /// `[data.color_jitter]`: how far the colours of each training view are changed at most, at random.
    pub struct ColorJitter {
        /// How far the factor of brightness is from 1.
        #[within(Range::between(0.0, 10.0))]
        brightness: f64 = 0.0, "faculty's choice: none";
        /// How far the factor of contrast is from 1.
        #[within(Range::between(0.0, 10.0))]
        contrast: f64 = 0.0, "faculty's choice: none";
        /// How far the factor of saturation is from 1; of images with three channels.
        #[within(Range::between(0.0, 10.0))]
        saturation: f64 = 0.0, "faculty's choice: none";
        /// How far hue is turned, as a share of a turn; of images with three channels.
        #[within(Range::between(0.0, 0.5))]
        hue: f64 = 0.0, "faculty's choice: none";
    }
}

section! {
    /// `[student]`: the network to train.
    pub struct Student {
        /// Name of the network, one of `faculty networks`.
        network: String;
        /// Instead of a name: an ONNX file, whose network is trained, from the weights in the file on.
        onnx: Option<PathBuf> = None, "a network by its name";
        /// Instead of a name: a description of the network's layers (`.toml`), as
        /// `faculty networks --show NAME` writes one.
        file: Option<PathBuf> = None, "a network by its name";
        /// Start the network of the ONNX file with random weights instead of those in the file.
        fresh: Option<bool> = None, "false";
        /// Weights of this network to start from: `.safetensors`, `.pth`, `.pt` or a run's folder; of a
        /// text encoder a folder as `save_pretrained` writes it. A classifier for other classes
        /// starts anew; a first convolution for other channels is adapted.
        weights: Option<PathBuf> = None, "initialised at random";
        /// Which set of weights of a file that holds several: the keys that lead to it, with dots
        /// between them (`state_dict_ema`, `teacher`).
        weights_key: Option<String> = None, "the only one that fits";
        /// Layers of a text encoder.
        #[within(Range::between(1.0, 1024.0))]
        layers: Option<usize> = None, "those of `weights`, else 2";
        /// Which layers of `weights` the layers of a text encoder start from, counted from 0.
        from_layers: Option<Vec<usize>> = None, "layers at equal distances, the last among them";
        /// Values of a token in a text encoder.
        #[within(Range::between(1.0, 65536.0))]
        width: Option<usize> = None, "that of `weights`, else 128";
        /// Attention heads of a text encoder; they divide `width`.
        #[within(Range::between(1.0, 1024.0))]
        heads: Option<usize> = None, "those of `weights`, else `width` / 32";
        /// Values in the middle of a text encoder's feed-forward part.
        #[within(Range::between(1.0, 262144.0))]
        feed_forward: Option<usize> = None, "that of `weights`, else 4 `width`";
        /// How the tokens of a text become one vector: `mean`, `first` (the head of the network's family)
        /// or `attentive` (a learnt softmax).
        #[within(Range::Words(POOLINGS))]
        pooling: Option<String> = None, "that of `weights`, else `mean`";
        /// Share of values that training a text encoder drops.
        #[within(Range::below(0.0, 1.0))]
        dropout: Option<f64> = None, "that of `weights`, else 0.1";
        /// Tokenizer of a network that reads texts: `tokenizer.json`, `vocab.txt`, or a folder with one.
        tokenizer: Option<PathBuf> = None, "that in the folder of `weights`";
        /// Most tokens of a text; longer ones are cut.
        #[within(Range::between(4.0, 1048576.0))]
        max_tokens: usize = 128, "faculty's choice";
        /// Parts that training leaves as they are, by the first keys of their state-dict names:
        /// `["conv1", "layer1"]`. Their batch norms keep the running statistics.
        freeze: Vec<String> = Vec::new(), "everything is trained";
        /// Learning rate of the classifier, the last linear layer, as a factor of the others'.
        #[within(Range::above(0.0))]
        classifier_learning_rate_factor: f64 = 1.0, "CA-MKD paper";
    }
}

section! {
    /// `[[teachers]]`: one trained network to learn from.
    pub struct Teacher {
        /// Its name in reports and caches, different from the other teachers' names.
        name: String;
        /// Name of the network, one of `faculty networks`.
        network: Option<String> = None, "another source: `onnx` or `logits`";
        /// Its trained weights: `.safetensors`, `.pth` or `.pt`; of a text encoder a folder as
        /// `save_pretrained` writes it.
        weights: Option<PathBuf> = None, "another source: `onnx` or `logits`";
        /// Which set of weights of a file that holds several: the keys that lead to it, with dots
        /// between them (`state_dict_ema`, `teacher`).
        weights_key: Option<String> = None, "the only one that fits";
        /// Tokenizer of a network that reads texts: `tokenizer.json`, `vocab.txt`, or a folder with one.
        tokenizer: Option<PathBuf> = None, "that in the folder of `weights`";
        /// Most tokens of a text for this teacher; longer ones are cut.
        #[within(Range::between(4.0, 1048576.0))]
        max_tokens: Option<usize> = None, "the same as the student";
        /// Instead of a network: an ONNX file.
        onnx: Option<PathBuf> = None, "another source";
        /// Output of the ONNX file that holds the logits.
        output: Option<String> = None, "its only output";
        /// Tensor of the ONNX file that is the last map in front of global average pooling.
        map: Option<String> = None, "the input of the pooling, where that is plain to see";
        /// Instead of a network: a table of its logits by sample id, `.safetensors`, `.parquet` or
        /// `.npy`.
        logits: Option<PathBuf> = None, "another source";
        /// What an ONNX file or a table gives: `logits` (log-probabilities too), `probabilities` (rows
        /// that sum to 1, or to 100 in percent), or `sigmoid` (a probability of each class by itself).
        #[within(Range::Words(OutputType::NAMES))]
        output_type: Option<OutputType> = None, "recognised from its outputs";
        /// Height and width in pixels that the images are scaled to for this teacher.
        #[within(Range::between(1.0, 4096.0))]
        input_size: Option<[usize; 2]> = None, "the same as the data";
        /// Mean of each channel in this teacher's own normalisation.
        mean: Option<Vec<f32>> = None, "the same as the data";
        /// Standard deviation of each channel in this teacher's own normalisation.
        #[within(Range::above(0.0))]
        std: Option<Vec<f32>> = None, "the same as the data";
        /// Precision in which this network is run, wherever it is: in a run, in the preflight and in the
        /// cache. `f32`, or `bf16`: factors of convolutions and matrix products rounded to bfloat16,
        /// which is faster where the CPU has instructions for it.
        #[within(Range::Words(Precision::NAMES))]
        precision: Precision = Precision::F32, "faculty's choice";
        /// Accept this teacher even if it is near chance on the data.
        allow_weak: bool = false, "faculty's choice";
        /// Stage maps of this network on which classifier heads are mounted, `["f1", "f2"]` or
        /// `"all"`: each head is trained on the labels and is one more teacher, `NAME.f1`.
        heads: Option<Heads> = None, "none; method `dih` mounts them on all stages";
        /// File of a trained head: this teacher is the network as far as the head's map, and the
        /// head. Runs write it for the heads that they mount.
        head: Option<PathBuf> = None, "the network's own classifier";
        /// How far its classes are from the data's, for method `ot` and for ranking: a safetensors
        /// file with `cost` `[its classes, the data's]`, or with embeddings `teacher` and `data` of
        /// both lists of classes.
        class_cost: Option<PathBuf> = None, "from its classifier and its view of the data";
        /// What its outputs stand for: a list of the data's class names in this teacher's order, a
        /// table from its names to the data's, or a file with one of the two.
        classes: Option<Classes> = None, "the names in its file, else the data's order";
    }
}

section! {
    /// `[train]`: the optimiser and its schedule.
    pub struct Train {
        /// Epochs: passes over the training split.
        #[within(Range::between(1.0, 1e6))]
        epochs: usize = 240, "CA-MKD paper";
        /// Samples in one step.
        #[within(Range::between(1.0, 1e6))]
        batch_size: usize = 64, "CA-MKD paper";
        /// Batches whose mean gradient makes one update: `n` batches of `batch_size` samples for
        /// batches that would not fit into memory.
        #[within(Range::between(1.0, 1e6))]
        accumulate: usize = 1, "CA-MKD paper: an update after each batch";
        /// `sgd` or `adamw`.
        #[within(Range::Words(Optimizer::NAMES))]
        optimizer: Optimizer = Optimizer::Sgd, "CA-MKD paper";
        /// Learning rate: the peak of the schedule.
        #[within(Range::above(0.0))]
        learning_rate: f64 = 0.05, "CA-MKD paper";
        /// SGD momentum (sgd).
        #[within(Range::below(0.0, 1.0))]
        momentum: f64 = 0.9, "CA-MKD paper";
        /// Nesterov momentum (sgd).
        nesterov: bool = true, "CA-MKD paper";
        /// Weight decay.
        #[within(Range::at_least(0.0))]
        weight_decay: f64 = 5e-4, "CA-MKD paper";
        /// What has no weight decay: `none` of the parameters, or `norms-and-biases`, those of one axis.
        #[within(Range::Words(WeightDecayExempt::NAMES))]
        weight_decay_exempt: WeightDecayExempt = WeightDecayExempt::None, "CA-MKD paper";
        /// Decay rates of the running mean and square of the gradient, β1 and β2 (adamw).
        #[within(Range::below(0.0, 1.0))]
        betas: [f64; 2] = [0.9, 0.999], "PyTorch";
        /// ε, added to the denominator (adamw).
        #[within(Range::above(0.0))]
        epsilon: f64 = 1e-8, "PyTorch";
        /// Share of a label's probability that the task loss spreads evenly over all classes: label
        /// smoothing of the method's cross-entropy against the labels, and of nothing else.
        #[within(Range::below(0.0, 1.0))]
        label_smoothing: f64 = 0.0, "CA-MKD paper: none";
        /// How much each class counts in the task loss: a list in the order of the labels, each above
        /// 0, or `balanced`, by how often the classes occur.
        #[within(Range::above(0.0))]
        class_weights: Option<ClassWeights> = None, "all classes count the same";
        /// Learning-rate schedule: `step`, `cosine`, `linear`, `one-cycle` or
        /// `constant`.
        #[within(Range::Words(Schedule::NAMES))]
        schedule: Schedule = Schedule::Step, "CA-MKD paper";
        /// Epochs after which the learning rate is multiplied by `decay` (step).
        #[within(COUNT)]
        milestones: Vec<usize> = milestones(epochs), "CA-MKD paper: 5/8, 6/8 and 7/8 of the epochs";
        /// Factor of the learning rate at each milestone (step).
        #[within(Range::up_to(0.0, 1.0))]
        decay: f64 = 0.1, "CA-MKD paper";
        /// First epochs in which the learning rate rises from 0; may be a fraction.
        #[within(Range::at_least(0.0))]
        warmup_epochs: f64 = 0.0, "CA-MKD paper";
        /// Which samples an epoch is made of: `shuffled` takes each once, `balanced` as many of each
        /// class, those of rare classes several times; the number of samples stays the same.
        #[within(Range::Words(Sampling::NAMES))]
        sampling: Sampling = Sampling::Shuffled, "CA-MKD paper";
        /// Leave out the last batch of an epoch if it is not full.
        drop_last: bool = true, "CA-MKD paper";
        /// Clip the global gradient norm to this value.
        #[within(Range::above(0.0))]
        clip_gradient_norm: Option<f64> = None, "not clipped";
        /// Where the student's steps are computed: `cpu` (our kernels), `vulkan` (plain burn
        /// on a GPU, if the program was built with that feature), or `cpu-burn` (plain burn on the
        /// CPU, slow, to check against).
        #[within(Range::Words(Device::NAMES))]
        device: Device = Device::Cpu, "faculty's choice";
        /// Precision of the steps of student, projectors and heads: `f32`, or `bf16`: factors of
        /// convolutions and matrix products rounded to bfloat16, which is faster where the CPU has
        /// instructions for it. Weights, sums, losses, optimiser and measurements are f32.
        #[within(Range::Words(Precision::NAMES))]
        precision: Precision = Precision::F32, "faculty's choice";
        /// Threads to work on; the result does not depend on it.
        #[within(Range::between(1.0, 4096.0))]
        threads: Option<usize> = None, "all cores";
        /// Decay of a moving average of the student's weights, which is then measured and delivered in
        /// their place: `0.999`.
        #[within(Range::Numbers(Bound::Excluded(0.0), Bound::Excluded(1.0)))]
        ema: Option<f64> = None, "no average";
        /// What the best epoch is chosen by on the validation split: `top1`, `balanced-accuracy`,
        /// `macro-f1` or `nll`.
        #[within(Range::Words(BestBy::NAMES))]
        best_by: BestBy = BestBy::Top1, "CA-MKD paper";
        /// Stop when `best_by` has not improved for this many epochs; needs a validation split.
        #[within(COUNT)]
        early_stopping: Option<usize> = None, "all epochs";
        /// Measure on the validation split after every this many epochs, and after the last.
        #[within(COUNT)]
        evaluate_every: usize = 1, "faculty's choice";
        /// Write a checkpoint after every this many epochs, and after the last.
        #[within(COUNT)]
        checkpoint_every: usize = 1, "faculty's choice";
        /// Write a checkpoint in the middle of an epoch too, this many minutes after the last one; 0 =
        /// after every batch.
        #[within(Range::at_least(0.0))]
        checkpoint_minutes: f64 = 10.0, "faculty's choice";
        /// Batches of a run that may be left out because their loss or gradient is NaN or infinite; at
        /// the next one the run stops.
        #[within(Range::between(0.0, 1e12))]
        skip_bad_batches: usize = 0, "faculty's choice";
    }
}

section! {
    /// `[cache]`: files that keep the teachers' outputs, so that each teacher runs once over each
    /// view and never again; needs `data.views`.
    pub struct Cache {
        /// Folder of the cache; recipes of the same data, views and teachers can share it.
        path: Option<PathBuf> = None, "`cache/` in the current folder, then the recipe's name";
        /// `f32` trains bit for bit as without a cache, `f16` takes half the space.
        #[within(Range::Words(CacheDtype::NAMES))]
        dtype: CacheDtype = CacheDtype::F32, "faculty's choice";
        /// Which maps are kept beside the logits: `auto` those that the method reads, `full` also
        /// the last map and the pooled vector, `pooled` the pooled vector alone, `none` none.
        #[within(Range::Words(CacheMaps::NAMES))]
        maps: CacheMaps = CacheMaps::Auto, "faculty's choice";
        /// Samples in one file of a new cache.
        #[within(COUNT)]
        block: Option<usize> = None, "a 64th of the samples, but at least 256";
    }
}

section! {
    /// `[plan]`: several students instead of one, one after another or together.
    pub struct Plan {
        /// `born-again`: each student is the teacher of the next one, of the same network;
        /// `assistants`: networks between teachers and student, from large to small; `mutual`:
        /// the student and its peers learn together, without teachers.
        #[within(Range::Words(PlanKind::NAMES))]
        kind: PlanKind;
        /// Number of students, one after another (born-again).
        #[within(Range::between(2.0, 100.0))]
        generations: usize = 3, "born-again paper: BAN-3";
        /// The networks beside the student: assistants in the order of their training, or peers.
        networks: Vec<String> = Vec::new(), "none, as for born-again";
    }
}

words! {
    /// `plan.kind`: how several students go together.
    pub enum PlanKind {
        /// Each the teacher of the next one.
        #[default]
        BornAgain = "born-again",
        /// Through networks of falling size.
        Assistants = "assistants",
        /// All at the same time, from each other.
        Mutual = "mutual",
    }
}

section! {
    /// `[heads]`: how classifier heads inside teachers are trained, before anything else.
    pub struct HeadTraining {
        /// Epochs: passes over the training split.
        #[within(Range::between(1.0, 1e6))]
        epochs: usize = 10, "faculty's choice";
        /// Peak learning rate (adamw, cosine schedule).
        #[within(Range::above(0.0))]
        learning_rate: f64 = 1e-3, "faculty's choice";
        /// Folder of the head files; runs of the same teachers and data share it.
        path: Option<PathBuf> = None, "`heads/` beside the run folder";
    }
}

words! {
    /// `cache.dtype`: how values are stored.
    pub enum CacheDtype {
        /// As they are computed.
        #[default]
        F32 = "f32",
        /// Rounded to half precision: 11 significant bits, at most 65504.
        F16 = "f16",
    }
}

words! {
    /// `cache.maps`: what is kept beside the logits.
    pub enum CacheMaps {
        /// What the method of the recipe reads.
        #[default]
        Auto = "auto",
        /// That, the last map and the pooled vector.
        Full = "full",
        /// The pooled vector.
        Pooled = "pooled",
        /// Nothing.
        None = "none",
    }
}

words! {
    /// `teachers.output_type`: what the numbers of an ONNX file or a table are.
    pub enum OutputType {
        /// As they stand in front of a softmax, up to a constant a row.
        #[default]
        Logits = "logits",
        /// As a softmax gives them, or percent: rows ≥ 0 of equal sums.
        Probabilities = "probabilities",
        /// As a sigmoid gives them: each class between 0 and 1 by itself.
        Sigmoid = "sigmoid",
    }
}

words! {
    /// `data.on_bad_image`: what to do with an image that cannot be read.
    pub enum OnBadImage {
        /// The data set is refused.
        #[default]
        Stop = "stop",
        /// It is left out and listed.
        Skip = "skip",
    }
}

words! {
    /// `data.exif_orientation`: whether images are turned as their EXIF orientation says.
    pub enum ExifOrientation {
        /// As viewers show them.
        #[default]
        Apply = "apply",
        /// As they are stored.
        Ignore = "ignore",
    }
}

words! {
    /// `data.on_duplicate_text`: what to do with training texts that are there more than once.
    pub enum OnDuplicateText {
        /// They are kept, with a note.
        #[default]
        Keep = "keep",
        /// All but one of them are left out, and those that another split has too.
        Drop = "drop",
    }
}

words! {
    /// `data.unlabelled`: what to do with training samples that have no label.
    pub enum Unlabelled {
        /// They are left out.
        #[default]
        Drop = "drop",
        /// They are trained on, with what the teachers say of them.
        Use = "use",
    }
}

/// `student.pooling`
const POOLINGS: &[&str] = &["first", "mean", "attentive"];

words! {
    /// `data.label_noise_kind`: which wrong class replaces a label.
    pub enum LabelNoise {
        /// Any other class, all equally likely: who learns from it becomes unsure.
        #[default]
        Uniform = "uniform",
        /// The next class: who learns from it becomes surely wrong.
        Pair = "pair",
    }
}

words! {
    /// `train.optimizer`.
    pub enum Optimizer {
        /// Stochastic gradient descent with momentum.
        #[default]
        Sgd = "sgd",
        /// Adam with decoupled weight decay (Loshchilov, Hutter, ICLR 2019).
        AdamW = "adamw",
    }
}

words! {
    /// `train.weight_decay_exempt`: which parameters have no weight decay.
    pub enum WeightDecayExempt {
        /// All have it.
        #[default]
        None = "none",
        /// Scales and shifts of norms, and biases: parameters of one axis.
        NormsAndBiases = "norms-and-biases",
    }
}

words! {
    /// `train.sampling`: which samples an epoch is made of.
    pub enum Sampling {
        /// Each once, in random order.
        #[default]
        Shuffled = "shuffled",
        /// As many of each class, in random order: of rare classes some several times, of frequent
        /// ones not all.
        Balanced = "balanced",
    }
}

words! {
    /// `train.best_by`: what epochs are compared by on the validation split.
    pub enum BestBy {
        /// Accuracy.
        #[default]
        Top1 = "top1",
        /// Mean over the classes of the share of their samples that is right.
        BalancedAccuracy = "balanced-accuracy",
        /// Mean over the classes of their F1.
        MacroF1 = "macro-f1",
        /// Negative log-likelihood; the lowest is the best.
        Nll = "nll",
    }
}

words! {
    /// `train.device`: where the student's steps are computed.
    pub enum Device {
        /// Our kernels.
        #[default]
        Cpu = "cpu",
        /// A GPU through Vulkan.
        Vulkan = "vulkan",
        /// Plain burn on the CPU, to check against.
        CpuBurn = "cpu-burn",
    }
}

words! {
    /// `train.precision` and `teachers.precision`: what the factors of convolutions and matrix products
    /// are rounded to as they enter them.
    pub enum Precision {
        /// Nothing is rounded.
        #[default]
        F32 = "f32",
        /// Rounded to the nearest bfloat16: 8 significant bits, the range of f32.
        Bf16 = "bf16",
    }
}

words! {
    /// `train.schedule`: the course of the learning rate.
    pub enum Schedule {
        /// Multiplied by `decay` after each of the `milestones`.
        #[default]
        Step = "step",
        /// Half a cosine from the learning rate to 0.
        Cosine = "cosine",
        /// A straight line from the learning rate to 0 (Devlin et al. 2019).
        Linear = "linear",
        /// Up along a cosine, then down to almost 0 (Smith, Topin 2018).
        OneCycle = "one-cycle",
        /// Always the same.
        Constant = "constant",
    }
}

/// The paper's 150, 180 and 210 of 240 epochs, in proportion. Short runs lose those that coincide.
#[must_use]
pub fn milestones(epochs: usize) -> Vec<usize> {
    let mut milestones: Vec<usize> =
        (5..8).map(|eighth| epochs.saturating_mul(eighth) / 8).collect();
    milestones.dedup();
    milestones.retain(|&milestone| milestone > 0);
    milestones
}
