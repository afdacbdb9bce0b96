<?php
function more() {
    return "more";
}
