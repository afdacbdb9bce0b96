"""python -m shop.report"""

import statistics
import textwrap

if __name__ == "__main__":
    print(textwrap.shorten(f"the mean is {statistics.mean((1, 2, 3))} ", 60))
