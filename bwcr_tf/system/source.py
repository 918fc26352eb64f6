"""What a module's source says, read without importing what the module imports."""

import ast
import importlib.util
import pathlib


def table_keys(module, table):
    """Keys of the dict literal `table` at the top of a module, such as the names of methods.

    So that `--help` and a mistyped flag answer at once: importing TensorFlow takes seconds.
    """
    path = pathlib.Path(importlib.util.find_spec(module).origin)
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == table:
            return [ast.literal_eval(key) for key in node.value.keys]
    raise LookupError(f"{module} has no dict literal {table}")
