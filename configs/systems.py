r"""The systems that MCR and MIA-Net are compared with, with their authors' settings.

  python -m mcr_jax.train --config systems:mfn --workdir runs/mfn \
    --config.data.path=aligned_50.pkl
  python -m mcr_jax.train --config systems:mfn,mosei,unaligned \
    --workdir runs/mfn_mosei --config.data.path=unaligned_50.pkl

Behind the colon stands a system; then, in any order, a corpus (`mosi`, which is the
default, `mosei`, `iemocap`, `meld`, or `own`, whose file decides everything),
`unaligned`, where a system that reads words one by one spreads or aligns frames over
them, what else the system has a name for below (`authors` of MFN), and `quick`: two
epochs on synthetic data, of a large system in its `small` form.

A system has its settings by corpus in `SYSTEMS`: those of the released code, of the
MMSA collection where that has the only public ones, and those of the nearest corpus
where there are none. What it says of no corpus holds for all of them. Losses other
than the task's have the weights of the system's card. Text is as the file has it: where
a paper tuned its language model, the settings of the rest stand here.
"""

import functools

import ml_collections as mlc

from configs import common

THREE = ("text", "audio", "vision")
# Groups of a config by corpus: what a task needs, and the arrays that are shared.
CORPORA = {
  "mosi": dict(
    data=dict(lengths=dict(text=50, audio=50, vision=50)),
    loss=dict(name="l1"),
    train=dict(monitor="mae"),
  ),
  "mosei": dict(
    data=dict(lengths=dict(text=50, audio=50, vision=50)),
    loss=dict(name="l1"),
    train=dict(monitor="mae"),
  ),
  "iemocap": dict(
    data=dict(task="binary", lengths=dict(text=20, audio=20, vision=20)),
    loss=dict(name="cross_entropy"),
  ),
  "meld": dict(
    data=dict(task="multiclass", modalities=("text", "audio")),
    loss=dict(name="cross_entropy"),
    train=dict(monitor="weighted_f1"),
  ),
  "own": dict(data=dict(modalities=()), train=dict(monitor="loss")),
}
UNALIGNED = {
  "mosi": dict(text=50, audio=375, vision=500),
  "mosei": dict(text=50, audio=500, vision=500),
  "iemocap": dict(text=20, audio=400, vision=500),
}
# A system: groups of fields. Those of a corpus, of `unaligned` or of another name come
# on top, whole groups of `data.lengths` and the like at a time.
SYSTEMS = {
  "bc_lstm": dict(
    model=dict(width=300, hidden=500, context_dropout=0.4, dropout=0.4),
    optim=dict(lr=1e-3),
    train=dict(epochs=60, batch_size=20, patience=10),
  ),
  "bbfn": dict(
    model=dict(attention_dropout=0.1, relu_dropout=0.1, residual_dropout=0.1),
    optim=dict(lr=5e-4, clip=0.8),
    train=dict(epochs=40, batch_size=24),
    mosi=dict(loss=dict(name="l2")),
    mosei=dict(loss=dict(name="l2")),
  ),
  "cm_bert": dict(
    data=dict(modalities=("text", "audio")),
    model=dict(attention_dropout=0.3, hidden_dropout=0.1, dropout=0.1),
    # Of frozen features: the rate of the authors' fusion block, and their small one for
    # biases. Their rate falls by a line, after a tenth of the updates.
    optim=dict(
      **dict(name="adamw", lr=1e-2, weight_decay=0.01, schedule="cosine"),
      **dict(warmup_steps=16, multipliers=((r".*bias", 2e-3),)),
    ),
    train=dict(epochs=3, batch_size=24),
    mosi=dict(loss=dict(name="l2")),
    mosei=dict(loss=dict(name="l2"), optim=dict(warmup_steps=204)),
    iemocap=dict(optim=dict(warmup_steps=34)),
    unaligned=dict(model=dict(align="uniform")),
  ),
  "dialogue_rnn": dict(
    model=dict(
      **dict(global_width=150, party_width=150, emotion_width=100, hidden=200),
      **dict(state_dropout=0.1, context_dropout=0.25, dropout=0.1),
    ),
    optim=dict(lr=5e-4, weight_decay=1e-5),
    train=dict(epochs=100, batch_size=30, patience=10),
    # The authors read the text alone there.
    iemocap=dict(
      data=dict(task="multiclass", lengths={}, modalities=("text",)),
      model=dict(
        **dict(global_width=500, party_width=500, emotion_width=300, hidden=600),
        **dict(state_dropout=0.1, context_dropout=0.25, dropout=0.1),
      ),
      loss=dict(name="cross_entropy", class_weights="balanced"),
      optim=dict(lr=1e-4, weight_decay=1e-5),
      train=dict(epochs=60, batch_size=30, patience=10),
    ),
  ),
  "ef_lstm": dict(  # MMSA
    model=dict(width=128, layers=2, dropout=0.4),
    optim=dict(lr=2e-3),
    train=dict(epochs=100, batch_size=128, patience=8),
    unaligned=dict(model=dict(align="uniform")),
    mosei=dict(
      model=dict(width=64, layers=2, dropout=0.2),
      train=dict(epochs=100, batch_size=32, patience=8),
    ),
  ),
  "graph_mfn": dict(  # MMSA, found with BERT vectors as text
    model=dict(
      widths=dict(text=256, audio=32, vision=256),
      **dict(memory=300, vertex_width=64),
      **dict(proposal_width=32, retain_width=128, update_width=64, output_width=256),
      **dict(retain_dropout=0.5, update_dropout=0.5),
    ),
    optim=dict(lr=2e-3, weight_decay=5e-3),
    train=dict(epochs=100, batch_size=32, patience=8),
    mosei=dict(
      model=dict(
        widths=dict(text=64, audio=16, vision=64),
        **dict(memory=300, vertex_width=128),
        **dict(proposal_width=32, retain_width=64, update_width=256, output_width=128),
        **dict(proposal_dropout=0.5, retain_dropout=0.0),
        **dict(update_dropout=0.7, output_dropout=0.7),
      ),
      optim=dict(lr=2e-3, weight_decay=1e-3),
      train=dict(epochs=100, batch_size=64, patience=8),
    ),
    unaligned=dict(model=dict(align="uniform")),
  ),
  "lf_dnn": dict(  # MMSA
    model=dict(width=128, hidden=128, dropout=0.2),
    optim=dict(lr=1e-3),
    train=dict(epochs=100, batch_size=64, patience=8),
  ),
  "mib": dict(  # the rate is that of frozen text; theirs are 1e-5 and 2e-5
    model=dict(
      **dict(variant="complete", encoder="conv_transformer", encoder_layers=3),
      **dict(attention_dropout=0.5, encoder_dropout=0.3, embed_dropout=0.2),
    ),
    optim=dict(lr=1e-3),
    train=dict(epochs=50, batch_size=32),
    early=dict(model=dict(variant="early")),
    late=dict(model=dict(variant="late")),
  ),
  "misa": dict(
    model=dict(encoder="lstm", dropout=0.5),
    optim=dict(lr=1e-4, clip=1.0, clip_by="value"),
    train=dict(epochs=500, batch_size=64, patience=6),
    mosi=dict(loss=dict(name="l2")),
    mosei=dict(loss=dict(name="l2"), train=dict(batch_size=16)),
    mmsa=dict(  # found with BERT vectors as text
      model=dict(dropout=0.2),
      loss=dict(weights=dict(similarity=0.3, difference=0.1)),
      optim=dict(clip=0.8),
      train=dict(batch_size=16),
      mosei=dict(
        model=dict(dropout=0.5),
        loss=dict(weights=dict(similarity=0.8, difference=0.3)),
        optim=dict(weight_decay=5e-5),
        train=dict(batch_size=64),
      ),
    ),
  ),
  "mm_dfn": dict(
    model=dict(width=100, graph_width=100, layers=32, dropout=0.4),
    loss=dict(focal_gamma=0.5, focal_detached=True),
    optim=dict(lr=5e-4, weight_decay=1e-4),
    train=dict(epochs=30, batch_size=32, patience=10),
    meld=dict(data=dict(modalities=THREE), loss=dict(name="focal")),
    iemocap=dict(
      data=dict(task="multiclass", lengths={}),
      model=dict(
        **dict(width=100, graph_width=100, layers=32, dropout=0.4),
        speaker_weights=dict(text=1.0, audio=3.0, vision=0.0),
      ),
      loss=dict(name="focal", class_weights="balanced"),
      optim=dict(lr=3e-4, weight_decay=1e-4),
      train=dict(epochs=30, batch_size=32, patience=10),
    ),
  ),
  "mctn": dict(
    optim=dict(lr=1e-4),
    train=dict(epochs=200, batch_size=32, patience=20),
    **dict.fromkeys(
      ("mosi", "mosei", "iemocap"),
      dict(model=dict(order=("text", "vision", "audio"))),
    ),
    unaligned=dict(model=dict(align="ctc")),
  ),
  # MMSA, found with BERT vectors as text. All modalities have one rate of dropout here.
  "mfm": dict(
    optim=dict(lr=1e-3),
    train=dict(epochs=100, batch_size=64, patience=8),
    mosi=dict(
      model=dict(
        **dict(widths=dict(text=128, audio=32, vision=128), memory=64),
        **dict(attention_width=32, proposal_width=64),
        **dict(retain_width=32, update_width=64),
        **dict(label_code=80, codes=dict(text=64, audio=80, vision=80)),
        **dict(label_factor=64, factors=dict(text=32, audio=16, vision=64)),
        generation_weights=dict(text=0.5, audio=0.01, vision=0.5),
        **dict(attention_dropout=0.7, update_dropout=0.5),
        **dict(label_dropout=0.5, factor_dropout=0.5),
      ),
      loss=dict(weights=dict(mmd=100.0)),
      optim=dict(weight_decay=1e-3),
    ),
    mosei=dict(
      model=dict(
        **dict(widths=dict(text=256, audio=32, vision=256), memory=64),
        **dict(attention_width=128, proposal_width=32),
        **dict(retain_width=64, update_width=128),
        **dict(label_code=32, codes=dict(text=256, audio=80, vision=80)),
        **dict(label_factor=16, factors=dict(text=32, audio=80, vision=32)),
        generation_weights=dict(text=5.0, audio=2.0, vision=5.0),
        **dict(attention_dropout=0.5, proposal_dropout=0.7),
        **dict(retain_dropout=0.5, update_dropout=0.2),
        **dict(label_dropout=0.2, factor_dropout=0.7, output_dropout=0.2),
      ),
      loss=dict(weights=dict(mmd=10.0)),
      optim=dict(weight_decay=5e-4),
    ),
    unaligned=dict(model=dict(align="uniform")),
    # What the authors logged on MOSI with GloVe words; the number of epochs is ours.
    authors=dict(
      model=dict(
        **dict(widths=dict(text=88, audio=64, vision=48), memory=64),
        **dict(attention_width=128, proposal_width=128),
        **dict(retain_width=128, update_width=128),
        **dict(label_code=32, codes=dict(text=32, audio=8, vision=80)),
        **dict(label_factor=16, factors=dict(text=88, audio=8, vision=8)),
        generation_weights=dict(text=1.0, audio=0.01, vision=0.5),
        **dict(attention_dropout=0.5, proposal_dropout=0.5),
        **dict(retain_dropout=0.5, update_dropout=0.5),
        **dict(label_dropout=0.0, factor_dropout=0.2, output_dropout=0.0),
      ),
      loss=dict(weights=dict(mmd=1.0)),
      optim=dict(weight_decay=0.0, schedule="plateau"),
      train=dict(batch_size=32, patience=0),
    ),
  ),
  "mfn": dict(  # MMSA, found with BERT vectors as text
    model=dict(
      memory=400,
      widths=dict(text=256, audio=32, vision=256),
      **dict(attention_width=32, proposal_width=64),
      **dict(retain_width=256, update_width=32, output_width=128),
      **dict(attention_dropout=0.2, retain_dropout=0.7, update_dropout=0.5),
    ),
    optim=dict(lr=2e-3),
    train=dict(epochs=100, batch_size=128, patience=8),
    mosei=dict(
      model=dict(
        memory=128,
        widths=dict(text=128, audio=32, vision=128),
        **dict(attention_width=128, proposal_width=128),
        **dict(retain_width=256, update_width=256, output_width=128),
        **dict(attention_dropout=0.2, proposal_dropout=0.5),
        **dict(retain_dropout=0.7, update_dropout=0.0, output_dropout=0.5),
      ),
      optim=dict(lr=5e-4, weight_decay=1e-4),
      train=dict(epochs=100, batch_size=64, patience=8),
    ),
    unaligned=dict(model=dict(align="uniform")),
    # What the authors logged on MOSI with GloVe words: MAE 0.993 there, and 0.954 of
    # the weights that they released.
    authors=dict(
      model=dict(
        memory=128,
        widths=dict(text=88, audio=48, vision=16),
        **dict(attention_width=128, proposal_width=64),
        **dict(retain_width=256, update_width=64, output_width=64),
        **dict(attention_dropout=0.0, proposal_dropout=0.2),
        **dict(retain_dropout=0.0, update_dropout=0.2, output_dropout=0.5),
      ),
      optim=dict(lr=1e-2, weight_decay=0.0),
      train=dict(epochs=50, batch_size=128, patience=0),
    ),
  ),
  "mtag": dict(  # MOSI has its authors' settings
    model=dict(embed_dropout=0.1, attention_dropout=0.1),
    optim=dict(
      **dict(name="adamw", lr=1e-3, weight_decay=1e-2),
      **dict(schedule="plateau", plateau_factor=0.5, plateau_patience=10),
    ),
    train=dict(epochs=15, batch_size=32),
    **dict.fromkeys(("mosi", "mosei"), dict(loss=dict(name="huber"))),
  ),
  # Nothing of the authors' is public: a re-implementation's, and MulT's batches.
  "pmr": dict(
    model=dict(
      **dict(width=40, heads=8, layers=5, encoder_layers=5),
      **dict(kernel=3, kernels=dict(audio=5), embed_dropout=0.25),
      **dict(attention_dropout=0.1, relu_dropout=0.1, residual_dropout=0.1),
    ),
    optim=dict(lr=1e-3, clip=0.8),
    train=dict(epochs=100, batch_size=32),
    unaligned=dict(model=dict(remat=True)),
    small=dict(model=dict(width=16, heads=4, layers=2, encoder_layers=1)),
  ),
  "qmf": dict(
    model=dict(input_dropout=0.2, dropout=0.2),
    # RMSprop, but for the first updates.
    optim=dict(lr=3e-3, b1=0.0, b2=0.99, clip=0.8),
    train=dict(epochs=100, batch_size=32),
    mosei=dict(train=dict(epochs=15, batch_size=32)),
    unaligned=dict(model=dict(align="uniform")),
  ),
  "mmim": dict(
    model=dict(encoder="lstm", encoder_width=16, dropout=0.1),
    optim=dict(lr=1e-3, weight_decay=1e-4, clip=1.0),
    train=dict(epochs=40, batch_size=32, patience=10),
  ),
  "raven": dict(
    model=dict(input_dropout=0.2, shifted_dropout=0.2),
    optim=dict(lr=1e-3),
    train=dict(epochs=500, batch_size=20),
    unaligned=dict(model=dict(align="ctc")),
    # Behind `unaligned`: the frames of a word one by one, as the authors read them.
    subword=dict(model=dict(align="none", subword="uniform")),
  ),
  "rmfn": dict(  # nothing is public
    model=dict(widths=dict(text=64, audio=16, vision=32), output_dropout=0.5),
    optim=dict(lr=1e-3),
    train=dict(epochs=100, batch_size=64, patience=8),
    unaligned=dict(model=dict(align="uniform")),
  ),
  "routing": dict(
    model=dict(concept_dropout=0.5),
    optim=dict(lr=1e-4, weight_decay=1e-4, clip=1.0),
    train=dict(epochs=20, batch_size=32),
    **dict.fromkeys(
      ("mosi", "mosei"), dict(loss=dict(weights=dict(task=0.0, levels=1.0)))
    ),
    unaligned=dict(model=dict(remat=True)),
    # Ours, for a look: of 30 million parameters an epoch takes minutes.
    small=dict(model=dict(width=40, heads=4, layers=2), optim=dict(lr=2e-3)),
  ),
  # MMSA, which takes a step every four batches of 16. Text is frozen here, and all
  # modalities have one rate of dropout.
  "self_mm": dict(
    model=dict(
      **dict(encoder="lstm", encoder_width=32, main="text", hidden=128, width=32),
      unimodal_dropout=0.1,
    ),
    optim=dict(
      **dict(lr=1e-3, weight_decay=1e-3, accumulate=4),
      multipliers=(("encoder_.*", 5.0),),
    ),
    train=dict(epochs=100, batch_size=64, patience=8),
    mosei=dict(
      model=dict(
        **dict(encoder="lstm", encoder_width=32, main="text", hidden=128, width=32),
        fusion_dropout=0.1,
      ),
      optim=dict(
        **dict(lr=1e-3, weight_decay=1e-2, accumulate=4),
        multipliers=(("encoder_audio/.*", 5.0), ("encoder_vision/.*", 0.1)),
      ),
      train=dict(epochs=100, batch_size=128, patience=8),
    ),
  ),
  "ssl_fusion": dict(  # the rate is ours, of a linear probe; their decay is linear
    data=dict(modalities=("text", "audio")),
    model=dict(dropout=0.1, attention_dropout=0.1),
    optim=dict(
      **dict(name="adamw", lr=1e-3, b2=0.98, weight_decay=0.1),
      **dict(schedule="cosine", warmup_steps=165),
    ),
    train=dict(epochs=10, batch_size=8),
    coattention=dict(model=dict(fusion="coattention")),
  ),
  # Where the authors predict features, the gradient is cut, the rate falls on a plateau
  # of that error, and the best weights go on. Here those of the last epoch do, the rate
  # falls in the second phase alone, and the gradient is cut in both.
  "tcsp": dict(
    model=dict(dropout=0.5),
    optim=dict(
      **dict(lr=1e-3, clip=0.8, clip_by="value"),
      **dict(schedule="plateau", plateau_factor=0.1, plateau_patience=5),
    ),
    train=dict(
      **dict(epochs=70, batch_size=24),
      phases=(
        dict(epochs=40, trainable=("translate_.*",), task=False),
        dict(epochs=30, trainable=("(?!translate_).*",)),
      ),
    ),
  ),
}
# No settings are public: those of MOSEI.
for name in ("mfn", "graph_mfn", "mfm"):
  SYSTEMS[name]["iemocap"] = SYSTEMS[name]["mosei"]
GROUPS = ("data", "model", "loss", "optim", "train")


def get_config(arg: str = "") -> mlc.ConfigDict:
  name, _, rest = arg.partition(",")
  if name == "quick":  # of the first one
    name, rest = next(iter(SYSTEMS)), arg
  name = name or next(iter(SYSTEMS))
  if name not in SYSTEMS:
    raise ValueError(f"no system is named {name!r}; known: {', '.join(SYSTEMS)}")
  entry = SYSTEMS[name]
  parts = [part for part in rest.split(",") if part]
  corpora = [part for part in parts if part in CORPORA]
  if len(corpora) > 1:
    raise ValueError(f"{' and '.join(corpora)} are two corpora; right is one")
  corpus = corpora[0] if corpora else "mosi"
  c = mlc.ConfigDict()
  c.seeds = (0, 1, 2, 3, 4)
  c.data = dict(buckets=3, nonfinite="zero", modalities=THREE, absent="leave")
  c.model = dict(name=name)
  c.optim = dict(name="adam", clip=0.0)
  for part in (CORPORA[corpus], entry, entry.get(corpus, {})):
    add(c, part)
  shared = (*GROUPS, *CORPORA, "unaligned")
  own = {part: entry[part] for part in entry if part not in shared}
  variants = {
    **dict.fromkeys(CORPORA, lambda c: None),
    **{part: functools.partial(add_own, part=own[part], corpus=corpus) for part in own},
    "unaligned": functools.partial(unaligned, corpus=corpus, entry=entry),
    "quick": functools.partial(quick, entry=entry),
  }
  parts.sort(key="quick".__eq__)  # which goes by what the others have set
  return common.finish(c, ",".join(parts), **variants)


def add(c: mlc.ConfigDict, part: dict) -> None:
  for group in GROUPS:
    common.set_fields(c, group, **part.get(group, {}))


def add_own(c: mlc.ConfigDict, part: dict, corpus: str) -> None:
  add(c, part)
  add(c, part.get(corpus, {}))


def quick(c: mlc.ConfigDict, entry: dict) -> None:
  read = c.data.modalities  # all of which the synthetic data has
  common.quick(c)
  common.set_fields(c, "data", modalities=read)
  add(c, entry.get("small", {}))


def unaligned(c: mlc.ConfigDict, corpus: str, entry: dict) -> None:
  if corpus in UNALIGNED:
    common.set_fields(c, "data", buckets=6, lengths=UNALIGNED[corpus])
  elif corpus != "own":
    raise ValueError(f"{corpus} has no unaligned version here")
  add(c, entry.get("unaligned", {}))
