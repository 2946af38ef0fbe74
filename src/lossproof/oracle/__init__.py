"""The definitions of the specification, executable in ball arithmetic.

Independent of every framework and of the NumPy adapter: values and gradients are enclosed in
python-flint's ``arb`` balls, whose precision is raised until each ball rounds to one float64. NaN,
infinities and other limits are decided by the definitions before any arithmetic. Needed to write
cases, not to run them.
"""

from lossproof.oracle.evaluate import evaluate
from lossproof.oracle.result import Output

__all__ = ["Output", "evaluate"]
