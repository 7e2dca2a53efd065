"""Agreement of graders: coefficients with intervals, and the sums over units that they are computed from."""
