<?php
namespace Acme;

function helper()
{
    return "helped";
}
