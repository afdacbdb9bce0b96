<?php
namespace Acme\Shapes;

class Unused
{
}
