"""How the container is confined: profiles, capabilities, writable places, and the forms that say so."""
