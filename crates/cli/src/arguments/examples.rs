//! What `--help` shows below the options: commands to copy.

pub(super) const EXAMPLES: &str = "\
The first minutes:
  faculty demo                                      see it work
  faculty init data/cifar100 a.pth b.pth c.onnx     writes recipe.toml
  faculty teachers recipe.toml
  faculty distill recipe.toml";

pub(super) const DEMO_EXAMPLES: &str = "\
Examples:
  faculty demo
  faculty demo --text
  faculty demo --lm
  faculty demo --seed 2 --output runs/demo2
  faculty demo --retrain";

pub(super) const INIT_EXAMPLES: &str = "\
Examples:
  faculty init data/cifar100 resnet20.pth resnet56.pth vgg13.safetensors
  faculty init photos big.onnx others.parquet --resize 64,64 --student resnet20
  faculty init data/mnist --output recipes/alone.toml
  faculty init reviews --student all-MiniLM-L6-v2 --output teacher.toml
  faculty init reviews runs/minilm runs/mpnet tfidf.safetensors

Networks are recognised by the names and shapes of their tensors. Methods by default: ca-mkd with
two teachers or more, kd with one, ce with none. The student is a network of at most about half of
the smallest teacher, of its family where there is one; of texts two layers of the first encoder.";

pub(super) const EXPLAIN_EXAMPLES: &str = "\
Examples:
  faculty explain recipe.toml
  faculty explain recipe.toml --set method.name=aver --json";

pub(super) const METHODS_EXAMPLES: &str = "\
Examples:
  faculty methods
  faculty methods ca-mkd";

pub(super) const NETWORKS_EXAMPLES: &str = "\
Examples:
  faculty networks
  faculty networks --show resnet8x4 > student.toml      then change it, and name it in a recipe
  faculty networks --json";

pub(super) const DATASETS_EXAMPLES: &str = "\
Examples:
  faculty datasets
  faculty datasets data/cifar100
  faculty datasets photos --resize 64,64
  faculty datasets data/cifar100 --ids > ids.csv";

pub(super) const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  faculty completions bash > ~/.local/share/bash-completion/completions/faculty
  faculty completions fish > ~/.config/fish/completions/faculty.fish
  faculty completions zsh > \"${fpath[1]}/_faculty\"";

pub(super) const MAN_EXAMPLES: &str = "\
Examples:
  faculty man > ~/.local/share/man/man1/faculty.1
  faculty man | man -l -";

pub(super) const TRAIN_EXAMPLES: &str = "\
Examples:
  faculty train recipes/cifar100/resnet20.toml
  faculty train recipe.toml --set train.epochs=10 --set data.label_noise=0.9";

pub(super) const DISTILL_EXAMPLES: &str = "\
Examples:
  faculty distill recipe.toml
  faculty distill recipe.toml --set method.name=aver --output runs/aver
  faculty distill recipe.toml --resume
  faculty distill recipe.toml --resume-with train.epochs=60

Ctrl-C (or SIGTERM) finishes the batch, writes a checkpoint and exits with 130; once more ends at
once. See docs/reliability.md.";

pub(super) const TFIDF_EXAMPLES: &str = "\
Examples:
  faculty tfidf recipe.toml
  faculty tfidf recipe.toml --output tfidf.safetensors --folds 10
  faculty tfidf recipe.toml --c 1 --words-only --json

Logits of training samples come from models that have not seen them (folds). The table is a teacher:
logits = \"tfidf.safetensors\".";

pub(super) const TEACHERS_EXAMPLES: &str = "\
Examples:
  faculty teachers recipe.toml
  faculty teachers recipe.toml --samples 500 --json
  faculty teachers recipe.toml --ablate --set data.views=2 --seeds 3
  faculty teachers recipe.toml --rank

Exit code 1: a teacher is near chance and its recipe entry does not say `allow_weak = true`.";

pub(super) const COMPARE_EXAMPLES: &str = "\
Examples:
  faculty compare recipe.toml --methods aver,ca-mkd --seeds 5
  faculty compare recipe.toml --methods all --set data.views=4 --set train.epochs=30
  faculty compare recipe.toml --methods aver,ebkd,ca-mkd --against ebkd --output runs/weighting
  faculty compare recipe.toml --methods aver,ca-mkd --seeds auto --width 0.5
  faculty compare recipe.toml --methods aver,ca-mkd --seeds 5 --shard 2/8
  faculty compare recipe.toml --sweep
  faculty compare recipe.toml --sweep method.temperature=2,4,8 --sweep method.beta=10,50,200

Interrupt it at any time: the same command resumes where it was. See docs/compare.md.";

pub(super) const REPORT_EXAMPLES: &str = "\
Examples:
  faculty report runs/recipe
  faculty report runs/recipe-comparison
  faculty report runs/ce runs/aver runs/ca-mkd --output three.html
  faculty report runs/recipe --text
  faculty report runs/recipe --svg figures --latex > tables.tex";

pub(super) const WATCH_EXAMPLES: &str = "\
Examples:
  faculty watch
  faculty watch runs/recipe-comparison
  faculty watch runs --port 8765

Prints an address that only this machine reaches and that holds a secret. Only looks; Ctrl-C ends it.";

pub(super) const CACHE_EXAMPLES: &str = "\
Examples:
  faculty cache recipe.toml --dry-run
  faculty cache recipe.toml
  faculty cache recipe.toml --verify 100
  faculty cache recipe.toml --shard 2/8    (one of eight jobs of a cluster)";

pub(super) const EVALUATE_EXAMPLES: &str = "\
Examples:
  faculty evaluate runs/recipe
  faculty evaluate --weights resnet20.pth --data data/cifar100 --json
  faculty evaluate --weights big.onnx --data photos --resize 64,64
  faculty evaluate --weights model.gguf --data novel.txt
  faculty evaluate --weights student --data novel.txt --teacher large.gguf --json";
