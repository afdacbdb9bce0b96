<?php
namespace Acme\Shapes;

class Circle extends Shape
{
    public function area()
    {
        return (int) round(3.14159 * $this->size ** 2);
    }
}
