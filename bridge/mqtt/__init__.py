"""MQTT behind one seam: the transport that every program takes, over paho or in memory."""
