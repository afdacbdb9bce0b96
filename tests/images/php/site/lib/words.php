<?php
function words() {
    return "words";
}
