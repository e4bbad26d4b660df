#!/bin/sh
# An init that is ready before its starter has said its pid.
sleep 60 > /dev/null 2>&1 &
echo '"ready"'
echo "{\"forked\":{\"pid\":$!}}"
