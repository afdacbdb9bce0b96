"""What was seen: frozen, slotted, pure data. Nothing here touches the world or decides anything."""
