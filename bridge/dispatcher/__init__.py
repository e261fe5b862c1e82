"""The dispatcher: MQTT -> journal -> matching -> invocations, with a trace of every decision."""
