"""Names of runs: two words for a flow run, task and id for a task run, or what a template or function gives."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from kept import runtime
from kept.exceptions import ConfigurationError

# A generator of its own: seeding the global one must not make names repeat, nor drawing names disturb a seeded one.
_random = random.SystemRandom()


def two_words() -> str:
    """A name such as 'outgoing-cicada'."""
    return f"{_random.choice(_ADJECTIVES)}-{_random.choice(_ANIMALS)}"


def task_run_name(task: str, run_id: str) -> str:
    """A name such as 'add_one-d85'."""
    return f"{task}-{run_id[:3]}"


def custom_name(template: Any, parameters: Mapping[str, Any], label: str) -> str:
    """The name that a template over the parameters and `kept.runtime`, or a function, gives.

    Raises:
        ConfigurationError: the template names something that is not there, or no string came of it.
    """
    if callable(template):
        try:
            name = template(parameters=dict(parameters)) if _wants_parameters(template) else template()
        except Exception as error:
            raise ConfigurationError(f"The run name function of {label} raised {error!r}.") from error
    else:
        name = filled(template, {**parameters, **_facts()}, f"The run name template of {label}")
    if not isinstance(name, str):
        raise ConfigurationError(f"The run name of {label} came out as {name!r}; it has to be a string.")
    return name


def storage_key(template: str, parameters: Mapping[str, Any], label: str) -> str:
    """The key that a `result_storage_key` template gives. Raises `ConfigurationError` if it can't be filled."""
    key = filled(template, {"parameters": parameters, **_facts()}, f"The result_storage_key of {label}")
    if not key:
        raise ConfigurationError(f"The result_storage_key of {label}, {template!r}, came out empty for this call.")
    return key


def filled(template: str, names: Mapping[str, Any], label: str) -> str:
    """`template.format(...)`, with an error that says what there is to name."""
    try:
        return template.format(**names)
    except (KeyError, IndexError, AttributeError, ValueError, TypeError) as error:
        raise ConfigurationError(
            f"{label}, {template!r}, can't be filled in: {type(error).__name__}: {error}. "
            f"It can name: {', '.join(names)}."
        ) from error


def _facts() -> dict[str, Any]:
    return {"flow_run": runtime.flow_run, "task_run": runtime.task_run}


def _wants_parameters(function: Any) -> bool:
    code = getattr(function, "__code__", None)
    return code is not None and "parameters" in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]


_ADJECTIVES = (
    "able agile amber ancient apt ardent autumn azure bald bold brave brisk bronze calm candid careful cedar "
    "cheerful chilly clever cobalt coral cosmic crimson curious daring dapper deft dusky eager early earnest "
    "elegant fabled faithful fancy fearless fleet fluent foggy fond frank fresh friendly frosty gentle gilded glad "
    "golden graceful grand green happy hardy hasty hazel honest humble icy idle indigo ivory jade jolly keen kind "
    "large late lavender lean light little lively loyal lucid lucky lunar mellow merry mighty mild mint misty "
    "modest mossy native neat nimble noble nocturnal oaken olive opal outgoing pale patient pearly placid plucky "
    "polite prime proud prudent quaint quick quiet rapid ready robust rosy royal ruby russet sandy satin scarlet "
    "serene sharp shy silent silver sincere sleek smart snowy solar solid spirited spry steady stellar still stoic "
    "stout sturdy sunny swift tall tame tawny teal tender tidy timid topaz tranquil trim trusty upbeat valiant "
    "velvet violet vivid warm wary wild willing windy wise witty young zany zealous"
).split()

_ANIMALS = (
    "adder albatross alpaca anchovy ant antelope avocet axolotl badger barracuda bat bear beaver bee beetle bison "
    "bittern boar bobcat bonobo buffalo bumblebee bustard buzzard camel capybara caracal cardinal caribou carp cat "
    "catfish cheetah chinchilla chipmunk cicada civet clam cobra cockatoo condor coot cormorant corgi cougar coyote "
    "crab crane cricket crow cuckoo curlew deer dingo dolphin dormouse dove dragonfly duck dugong dunlin eagle "
    "echidna eel egret eland elephant elk emu ermine falcon ferret finch firefly flamingo fossa fox frog gannet "
    "gazelle gecko gerbil gibbon giraffe gnu goat goldfinch goose gopher grebe grouse gull guppy hamster hare "
    "harrier hawk hedgehog heron herring hippo hornet horse hoopoe hummingbird husky hyena ibex ibis iguana impala "
    "jackal jackdaw jaguar jay kestrel kingfisher kite kiwi koala kudu lapwing lark lemming lemur leopard limpet "
    "linnet lion lizard llama lobster loon lynx macaw magpie mallard manatee mantis marlin marmot marten meerkat "
    "mink mole mongoose moose moth mouse mule mussel narwhal newt nightjar numbat ocelot octopus okapi opossum orca "
    "oriole oryx osprey ostrich otter owl oyster panda pangolin parrot partridge pelican penguin perch petrel "
    "pheasant pigeon pika pike plover pony porcupine porpoise puffin puma python quail quetzal quokka rabbit "
    "raccoon ram raven reindeer robin rook salmon sandpiper seahorse seal serval shark sheep shrew shrike skink "
    "skunk skylark sloth snail snipe sparrow spider squid squirrel starling stingray stoat stork swallow swan swift "
    "tapir tarsier teal termite tern thrush tiger toad toucan trout tuna turaco turtle viper vole wallaby walrus "
    "warbler wasp weasel whale wolf wolverine wombat woodpecker wren yak zebra"
).split()
