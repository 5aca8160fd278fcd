"""The nine steps of neurons in one pass: as plain data, in words, as messages, and as a picture of times. No part computes."""
