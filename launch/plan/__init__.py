"""`python -m launch plan`: memory, time and price of a run, compiled for other machines before they are booked."""
