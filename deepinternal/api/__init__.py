"""One function per task, for notebooks and scripts: arrays in, arrays out, no files.

`run` takes any method, including your own. The functions that are named after a task call `run` with
the arguments of that task. All of them return a dict of arrays by name, or with `full=True` a `Result`,
which also holds the method, the parameters, the history of the metrics and the remarks. The default
preset is 'fast'; the commands default to the published settings.
"""

from deepinternal import lazy

__getattr__, __dir__ = lazy.attach(__name__, __file__)
