#!/bin/sh
# Each input is a file named like its parameter, without extension; so is each output.
# A command that fails ends the script with a code other than 0, which means failure.
set -eu

a=$(cat /inputs/a)
b=$(cat /inputs/b)
printf '%d' "$((a + b))" > /outputs/sum
