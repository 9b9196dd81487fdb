"""Trains a ShuffleNet on images.

Example:
  shufflenet train --recipe=digits --workdir=/tmp/digits

The workdir is the folder of a training: settings, checkpoints, metrics, class names and the
trained model. A recipe gives the value of every setting; each flag below overrides one.
`--recipe` may be omitted with --resume.

Exit codes: 0 done, 1 an error, 130 Ctrl-C, 75 SIGTERM (a preemption). The last two leave a
checkpoint: run the same command again with --resume.
"""

from pathlib import Path

from absl import flags

from common import cli
from common.settings import define_flags, given_flags
from trainers import config, recipes
from trainers.startup import import_tensorflow

FLAGS = flags.FLAGS

flags.DEFINE_string("recipe", None, f"Recipe to start from: {', '.join(recipes.RECIPES)}.")
flags.DEFINE_string("workdir", None, "Folder for the results; created if missing.")
flags.DEFINE_bool("resume", False, "Continue the run in --workdir from its last checkpoint.")

# Named as in `TrainConfig`; a flag that is not given has the recipe's value.
for group in config.GROUPS.values():
    define_flags(group)


def main() -> None:
    """Determines the config, then trains."""
    if not FLAGS.workdir:
        raise cli.UserError("--workdir is missing; name a folder for the results")
    train_config = _resumed_config() if _is_resumed() else _new_config()
    # Only now, so that a wrong flag is reported without waiting seconds for TensorFlow.
    import_tensorflow()
    from trainers import loop, tasks

    make_task, load = tasks.choose(train_config)
    loop.train(train_config, _is_resumed(), make_task, load)


def entry_point() -> None:
    """Runs the command."""
    cli.run(main)


def _is_resumed() -> bool:
    # A job that always has --resume starts a new run if the workdir has none.
    return FLAGS.resume and (Path(FLAGS.workdir) / config.CONFIG_FILE).exists()


def _new_config() -> config.TrainConfig:
    if not FLAGS.recipe:
        raise cli.UserError(f"--recipe is missing; name one of {', '.join(recipes.RECIPES)}")
    made = _config_of_recipe()
    workdir = Path(FLAGS.workdir)
    if made.placement.strategy == "multiworker":
        # The chief, which may have started already, checks the folder and creates it.
        return made
    config.check_new(workdir)
    workdir.mkdir(parents=True, exist_ok=True)
    return made


def _resumed_config() -> config.TrainConfig:
    saved = config.TrainConfig.load(FLAGS.workdir)
    if FLAGS.recipe:
        wanted = _config_of_recipe()
    else:
        given = given_flags(config.SETTINGS)
        wanted = config.TrainConfig.from_flags({**saved.to_flat(), **given})
    # It may run on other devices than before, and its data may have moved.
    try:
        resumed = saved.moved_to(wanted)
    # The other data is of another kind, which the differences name.
    except ValueError:
        resumed = saved
    changed = resumed.differences(wanted)
    if changed:
        raise cli.UserError(
            f"{FLAGS.workdir} was trained with other values ({', '.join(changed)}); "
            "resume with the same flags, or name another --workdir"
        )
    return resumed


def _config_of_recipe() -> config.TrainConfig:
    return recipes.make_config(FLAGS.recipe, FLAGS.workdir, given_flags(config.SETTINGS))


if __name__ == "__main__":
    entry_point()
